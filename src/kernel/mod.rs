//! Vocabulary without I/O: what the words of the product mean, wherever they are used.

pub mod active_code;
pub mod actor;
pub mod answer;
pub mod caller;
pub mod code;
pub mod day;
pub mod deadline;
pub mod digest;
pub mod email;
pub mod error;
pub mod external_id;
pub mod fold;
pub mod handle;
pub mod ids;
pub mod link;
pub mod mail;
pub mod name;
pub mod page;
pub mod parameters;
pub mod precis;
pub mod program;
pub mod scope;
pub mod time;
pub mod verdict;
pub mod version;
pub mod words;
