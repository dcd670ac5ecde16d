#include "gpu/torch/kv_pages.hpp"

#include <algorithm>
#include <utility>

namespace troupe::gpu {

/// Free pages stay here: a page of a large model is many memory pages of the system, whose first
/// touch costs more than filling it.
struct page_pool::shelf {
  std::vector<std::unique_ptr<float[]>> free;
  std::size_t num_taken = 0;
};

page_pool::page_pool(const model_config& model)
    : elements_(offset_in_page(model, model.num_layers, 0)), shelf_(std::make_shared<shelf>()) {}

page_ref page_pool::take() {
  std::unique_ptr<float[]> page;
  if (shelf_->free.empty()) {
    page = std::make_unique_for_overwrite<float[]>(elements_);
  } else {
    page = std::move(shelf_->free.back());
    shelf_->free.pop_back();
  }
  shelf_->free.reserve(shelf_->free.size() + shelf_->num_taken + 1);
  ++shelf_->num_taken;
  return {page.release(), [shelf = shelf_](float* values) {
            --shelf->num_taken;
            shelf->free.emplace_back(values);
          }};
}

page_ref page_pool::copy(const page_ref& page) {
  page_ref mine = take();
  std::copy_n(page.get(), elements_, mine.get());
  return mine;
}

std::size_t page_pool::num_taken() const {
  return shelf_->num_taken;
}

void sequence_cache::append(page_ref page) {
  addresses_.push_back(page.get());
  pages_.push_back(std::move(page));
}

void sequence_cache::replace_last(page_ref page) {
  addresses_.back() = page.get();
  pages_.back() = std::move(page);
}

void sequence_cache::clear() {
  addresses_.clear();
  pages_.clear();
}

}  // namespace troupe::gpu
