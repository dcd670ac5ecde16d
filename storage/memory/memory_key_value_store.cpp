#include <array>
#include <map>

#include "storage/open_store.hpp"

namespace troupe::storage {

namespace {

class memory_key_value_store final : public key_value_store {
 public:
  result<void> write(const write_batch& batch) override {
    for (const put_entry& put : batch.puts)
      columns_[index(put.where)][put.key] = put.value;
    for (const erase_entry& erase : batch.erases)
      columns_[index(erase.where)].erase(erase.key);
    return {};
  }

  result<std::optional<std::string>> get(column where, std::string_view key) override {
    const auto& entries = columns_[index(where)];
    const auto found = entries.find(key);
    if (found == entries.end()) return std::optional<std::string>{};
    return std::optional<std::string>{found->second};
  }

  result<void> scan(column where, std::string_view first, std::string_view last,
                    const std::function<bool(std::string_view, std::string_view)>& visit) override {
    const auto& entries = columns_[index(where)];
    for (auto it = entries.lower_bound(first); it != entries.end() && it->first < last; ++it) {
      if (!visit(it->first, it->second)) break;
    }
    return {};
  }

 private:
  static std::size_t index(column where) { return static_cast<std::size_t>(where); }

  // Bytes compare as unsigned, as in RocksDB: std::string's traits do so for char.
  std::array<std::map<std::string, std::string, std::less<>>, num_columns> columns_;
};

}  // namespace

std::unique_ptr<key_value_store> make_memory_key_value_store() {
  return std::make_unique<memory_key_value_store>();
}

}  // namespace troupe::storage
