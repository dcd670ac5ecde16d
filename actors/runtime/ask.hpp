#pragma once

// The only way actors of this project send. A request always has a deadline and always says what
// happens on failure: CAF's default for a forgotten error handler is to kill the requester.
//
// Threading: called from within the actor `self`; continuations run there.

#include <chrono>
#include <utility>

#include <caf/all.hpp>

#include "actors/protocol/type_ids.hpp"
#include "actors/runtime/errors.hpp"

namespace troupe::actors {

/// `ok` gets the answer, `bad` a troupe error.
template <class Self, class Handle, class Message, class Ok, class Bad>
void ask(Self* self, const Handle& to, std::chrono::milliseconds deadline, Message&& message,
         Ok&& ok, Bad&& bad) {
  self->request(to, deadline, std::forward<Message>(message))
      .then(std::forward<Ok>(ok),
            [bad = std::forward<Bad>(bad)](const caf::error& e) mutable { bad(from_caf(e)); });
}

/// A message whose loss is harmless: state that will be told again, or local delivery.
template <class Self, class Handle, class Message>
void tell(Self* self, const Handle& to, Message&& message) {
  self->send(to, std::forward<Message>(message));
}

/// Hands the answer of another actor on to the requester.
template <class Answer, class Self, class Handle, class Message, class Promise>
void relay(Self* self, const Handle& to, std::chrono::milliseconds deadline, Message&& message,
           Promise promise) {
  ask(
      self, to, deadline, std::forward<Message>(message),
      [promise](const Answer& value) mutable { promise.deliver(value); },
      [promise](const error& e) mutable { promise.deliver(to_caf(e)); });
}

}  // namespace troupe::actors
