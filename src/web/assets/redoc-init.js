"use strict";

const sans = 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif';
const mono = 'ui-monospace, "Cascadia Code", Menlo, Consolas, "DejaVu Sans Mono", monospace';

Redoc.init(
  "/openapi.json",
  {
    // Search runs in a worker made from a blob: URL, which the page's policy refuses.
    disableSearch: true,
    nativeScrollbars: true,
    // The defaults name fonts that are fetched from elsewhere.
    theme: {
      typography: {
        fontFamily: sans,
        headings: { fontFamily: sans },
        code: { fontFamily: mono },
      },
    },
  },
  document.getElementById("redoc"),
);
