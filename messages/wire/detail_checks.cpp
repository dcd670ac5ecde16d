#include "messages/wire/detail_checks.hpp"

namespace troupe::wire::detail {

namespace {

constexpr std::string_view sender_cause = "the sender built the message against its documentation";

}  // namespace

void checks::refuse(errc code, std::string_view field, std::string_view problem,
                    std::string action) {
  if (!ok()) return;
  std::string what(field);
  what.append(" ").append(problem);
  first_ = error{code, std::move(what), std::string(sender_cause), std::move(action)};
}

void checks::require(bool holds, std::string_view field, std::string_view rule) {
  if (holds) return;
  std::string problem("must ");
  problem.append(rule);
  refuse(errc::invalid_argument, field, problem, "correct the value and send it again");
}

bool checks::at_most(std::size_t count, std::size_t limit, std::string_view field) {
  if (count > limit) {
    refuse(errc::invalid_argument, field,
           "has " + std::to_string(count) + " elements, more than the limit of " +
               std::to_string(limit),
           "send fewer at a time");
  }
  return ok();
}

void checks::locate(std::string_view list, std::size_t index) {
  if (ok()) return;
  first_.what.insert(0, std::string(list) + "[" + std::to_string(index) + "]: ");
}

void refuse_variant(std::string_view field, checks& check) {
  check.refuse(errc::protocol, field, "is of an unknown kind",
               "run the same version of Troupe everywhere");
}

}  // namespace troupe::wire::detail
