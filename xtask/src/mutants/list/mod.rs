//! The mutants, by topic. A file that moves is one line at the head of its topic.

mod codes;
mod keep;
mod links;
mod mails;
mod managing;
mod oauth;
mod participants;
mod people;
mod registration;
mod retries;
mod rewards;
mod running;
mod sign_in;
mod tokens;
mod webhooks;

use super::Topic;

pub const TOPICS: &[Topic] = &[
    Topic { name: "codes", mutants: codes::MUTANTS },
    Topic { name: "links", mutants: links::MUTANTS },
    Topic { name: "registration", mutants: registration::MUTANTS },
    Topic { name: "participants", mutants: participants::MUTANTS },
    Topic { name: "people", mutants: people::MUTANTS },
    Topic { name: "mails", mutants: mails::MUTANTS },
    Topic { name: "tokens", mutants: tokens::MUTANTS },
    Topic { name: "oauth", mutants: oauth::MUTANTS },
    Topic { name: "sign-in", mutants: sign_in::MUTANTS },
    Topic { name: "managing", mutants: managing::MUTANTS },
    Topic { name: "running", mutants: running::MUTANTS },
    Topic { name: "rewards", mutants: rewards::MUTANTS },
    Topic { name: "retries", mutants: retries::MUTANTS },
    Topic { name: "keep", mutants: keep::MUTANTS },
    Topic { name: "webhooks", mutants: webhooks::MUTANTS },
];
