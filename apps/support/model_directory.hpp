#pragma once

// A model directory as a person names it on a command line, looked at before anything is started
// for it: what is wrong with it or with the data for it then costs nothing and leaves nothing.
//
// Threading: pure but for reading files.
// Errors: errc::not_found, errc::bad_model, errc::unsupported.

#include <string>

#include "messages/error.hpp"
#include "messages/model.hpp"

namespace troupe::apps {

struct model_directory {
  std::string path;  ///< absolute
  model_config config;
};

[[nodiscard]] result<model_directory> open_model_directory(const std::string& path);

}  // namespace troupe::apps
