//! Checking addresses with Hunter, and the queue that carries the questions.

mod answers;
mod helpers;
mod policies;
mod queue;
