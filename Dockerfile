# syntax=docker/dockerfile:1

FROM rust:1-bookworm AS build
WORKDIR /src
COPY . .
# What --version and the log say; the repository itself is not here: --build-arg GIT_COMMIT=$(git rev-parse HEAD)
ARG GIT_COMMIT=
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --profile dist --locked --bin referral \
    && cp target/dist/referral /referral \
    && mkdir /data

# Root certificates and glibc, no shell.
FROM gcr.io/distroless/cc-debian12
COPY --from=build /referral /usr/local/bin/referral
COPY --from=build --chown=10001:10001 --chmod=0700 /data /data
USER 10001:10001
# The default database is referral.db in the working directory. It is not set as DATABASE_URL here, so that
# DATABASE_URL_FILE has no rival.
WORKDIR /data
VOLUME /data
# Give REFERRAL_PUBLIC_URL when running: without it tokens name 0.0.0.0:8000 as their issuer.
ENV REFERRAL_LISTEN=0.0.0.0:8000
EXPOSE 8000
# Whether it runs; whether it is ready, which its database decides too, is `health` alone.
HEALTHCHECK --interval=10s --timeout=6s --start-period=60s CMD ["/usr/local/bin/referral", "health", "--live"]
ENTRYPOINT ["/usr/local/bin/referral"]
CMD ["serve"]
