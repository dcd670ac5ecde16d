#include "apps/support/model_directory.hpp"

#include <filesystem>

#include "storage/hf_directory.hpp"

namespace troupe::apps {

result<model_directory> open_model_directory(const std::string& path) {
  std::error_code problem;
  const std::string absolute = std::filesystem::absolute(path, problem).string();
  if (!std::filesystem::is_directory(absolute, problem)) {
    return fail(errc::not_found, "there is no model directory " + absolute, "a typing error",
                "give a Hugging Face directory, or make one with `troupe model create`");
  }
  const auto files = storage::open_hf_directory(absolute);
  if (!files) return fail(files.error());
  return model_directory{absolute, (*files)->config()};
}

}  // namespace troupe::apps
