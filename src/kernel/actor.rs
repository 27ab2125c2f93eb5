//! Who makes a change: every unit of work is told, and what is recorded about a change asks it.

use super::ids::{ClientId, RequestId, UserId};

/// Who makes a change, and by which request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Actor {
    pub who: Who,
    /// Nothing where no request is behind it.
    pub request: Option<RequestId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Somebody of whom nothing is known yet: who registers, logs in or refreshes.
    Anonymous,
    /// A person, by their token or at our own pages.
    Person(UserId),
    /// A manager, where only managers may.
    Manager(UserId),
    /// An OAuth client: by its own token or by its secret. A public one says itself which it is.
    Program(ClientId),
    /// A command on the machine that runs the service.
    Operator,
    /// Jobs, housekeeping and what comes before the first request.
    Service,
}

impl Actor {
    pub const OPERATOR: Self = Self { who: Who::Operator, request: None };
    pub const SERVICE: Self = Self { who: Who::Service, request: None };

    /// Whoever has sent a request, before it is known who that is.
    pub fn anonymous(request: Option<RequestId>) -> Self {
        Self { who: Who::Anonymous, request }
    }

    /// The same request, known to be a person's.
    pub fn person(self, user: UserId) -> Self {
        Self { who: Who::Person(user), ..self }
    }

    /// The same request, known to be a manager's.
    pub fn manager(self, user: UserId) -> Self {
        Self { who: Who::Manager(user), ..self }
    }

    /// The same request, known to be a program's.
    pub fn program(self, client: ClientId) -> Self {
        Self { who: Who::Program(client), ..self }
    }

    /// The user who acts, if it is one.
    pub fn user(self) -> Option<UserId> {
        match self.who {
            Who::Person(user) | Who::Manager(user) => Some(user),
            Who::Anonymous | Who::Program(_) | Who::Operator | Who::Service => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_acts_becomes_known_and_the_request_stays() {
        let (request, user, client) = (RequestId::new(), UserId::new(), ClientId::new());
        let anonymous = Actor::anonymous(Some(request));
        for (actor, who, acting) in [
            (anonymous, Who::Anonymous, None),
            (anonymous.person(user), Who::Person(user), Some(user)),
            (anonymous.manager(user), Who::Manager(user), Some(user)),
            (anonymous.program(client), Who::Program(client), None),
        ] {
            assert_eq!((actor.who, actor.request, actor.user()), (who, Some(request), acting));
        }
        for actor in [Actor::OPERATOR, Actor::SERVICE] {
            assert_eq!((actor.request, actor.user()), (None, None));
        }
    }
}
