#pragma once

// What the gateway must know of a base model beyond its name: how long it may get, which tokens end
// a text, and whether clients find a tokenizer beside the weights.
//
// Threading: pure functions over files. Errors: errc::not_found, errc::bad_model.

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "apps/gateway/token_texts.hpp"
#include "messages/error.hpp"
#include "messages/ids.hpp"

namespace troupe::gateway {

struct base_model {
  std::string name;
  std::string directory;
  std::uint32_t max_positions = 0;
  std::vector<token_id> end_tokens;
  bool has_tokenizer = false;
  std::shared_ptr<const token_texts> texts;  ///< of its tokens, when its tokenizer is known
  bool has_tied_head = false;                ///< the vocabulary head is the embedding
};

[[nodiscard]] result<base_model> open_base_model(const std::string& name,
                                                 const std::string& directory);

/// Those of the command line, by name. A name that is not served is errc::not_found and the error
/// names what is.
class base_models {
 public:
  [[nodiscard]] static result<base_models> open(const std::map<std::string, std::string>& named);

  [[nodiscard]] result<const base_model*> find(const std::string& name) const;
  [[nodiscard]] const base_model* of_directory(const std::string& directory) const;
  [[nodiscard]] const std::map<std::string, base_model>& all() const { return models_; }

 private:
  std::map<std::string, base_model> models_;
};

}  // namespace troupe::gateway
