#pragma once

// JSON for people: one member a line, indented by two, as model directories carry it.
//
// Threading: plain function.

#include <string>

#include <boost/json/value.hpp>

namespace troupe::storage {

[[nodiscard]] std::string print_json(const boost::json::value& value);

}  // namespace troupe::storage
