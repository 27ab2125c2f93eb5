//! The service without the work of hashing, for rows that look at what else registration costs. Everything around the
//! hash is there: the queue, the thread it is computed on, the text it is stored as.

use std::sync::Arc;

use referral::config::{self, Environment};
use referral::crypto::hashing::Hasher;
use referral::kernel::time::Clock;
use referral::site::server;
use referral::{start, worker};
use tokio::sync::watch;

use crate::programs::bare_hyper::runtime;

#[expect(clippy::disallowed_methods, reason = "a program of its own, with the service's settings")]
pub fn run() -> Result<(), String> {
    let environment: Environment = std::env::vars().collect();
    let config = config::load(None, &environment)?;
    runtime()?.block_on(async {
        let listener = server::bind(&config.http.listen, "REFERRAL_LISTEN").await?;
        let address = listener.local_addr().map_err(|error| format!("cannot tell where we listen: {error}"))?;
        let mut app = start::open(config, Clock::default()).await?;
        let hasher = Hasher::start_with(&app.config.hashing, |_, password, _, _| {
            let mut output = [0; 32];
            output.iter_mut().zip(password).for_each(|(to, from)| *to = *from);
            Ok(output)
        })?;
        Arc::get_mut(&mut app).ok_or("somebody has the application already")?.hasher = hasher;
        app.listens_on(address);
        worker::follow(&app);
        let (_stop, stopped) = watch::channel(false);
        tokio::spawn(worker::work(app.clone(), stopped.clone()));
        println!("Referral listens on http://{address} (without hashing)");
        server::serve(app, listener, stopped).await;
        Ok(())
    })
}
