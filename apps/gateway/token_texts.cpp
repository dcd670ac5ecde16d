#include "apps/gateway/token_texts.hpp"

#include <algorithm>
#include <array>
#include <optional>

#include "apps/support/json.hpp"
#include "apps/support/text_file.hpp"
#include "config/limits.hpp"

namespace troupe::gateway {
namespace {

constexpr std::string_view space_mark = "\xe2\x96\x81";  // U+2581
constexpr std::uint32_t alphabet_end = 324;

/// GPT-2's alphabet: bytes that print stand for themselves, the others for 256 and on, in order.
std::array<std::int16_t, alphabet_end> byte_alphabet() {
  std::array<std::int16_t, alphabet_end> out{};
  out.fill(-1);
  std::uint32_t next = 256;
  for (std::int16_t byte = 0; byte < 256; ++byte) {
    const bool prints = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    out.at(prints ? static_cast<std::uint32_t>(byte) : next++) = byte;
  }
  return out;
}

/// The next code point of up to two bytes in UTF-8; none for anything longer or broken.
std::optional<std::uint32_t> next_code(std::string_view text, std::size_t& at) {
  const auto first = static_cast<unsigned char>(text[at]);
  if (first < 0x80) {
    ++at;
    return first;
  }
  if ((first & 0xe0U) != 0xc0 || at + 1 >= text.size()) return std::nullopt;
  const auto second = static_cast<unsigned char>(text[at + 1]);
  at += 2;
  return ((first & 0x1fU) << 6U) | (second & 0x3fU);
}

std::string from_alphabet(std::string_view piece) {
  static const auto alphabet = byte_alphabet();
  std::string out;
  for (std::size_t at = 0; at < piece.size();) {
    const auto code = next_code(piece, at);
    if (!code || *code >= alphabet_end || alphabet.at(*code) < 0) return std::string(piece);
    out += static_cast<char>(alphabet.at(*code));
  }
  return out;
}

std::string from_marked(std::string_view piece) {
  constexpr std::size_t byte_piece = 6;  // <0x0A>
  if (piece.size() == byte_piece && piece.starts_with("<0x") && piece.back() == '>') {
    const std::string digits(piece.substr(3, 2));
    return std::string(1, static_cast<char>(std::strtoul(digits.c_str(), nullptr, 16)));
  }
  std::string out;
  while (!piece.empty()) {
    if (piece.starts_with(space_mark)) {
      out += ' ';
      piece.remove_prefix(space_mark.size());
    } else {
      out += piece.front();
      piece.remove_prefix(1);
    }
  }
  return out;
}

/// A step of this type stands in the decoder or in front of the tokenizer, alone or in a list.
bool has_step(const boost::json::value* step, std::string_view type) {
  if (step == nullptr || !step->is_object()) return false;
  const auto& object = step->get_object();
  if (apps::text_of(object, "type") == type) return true;
  for (const char* key : {"decoders", "pretokenizers"}) {
    const auto* list = object.if_contains(key);
    if (list == nullptr || !list->is_array()) continue;
    for (const auto& inner : list->get_array()) {
      if (inner.is_object() && apps::text_of(inner.get_object(), "type") == type) return true;
    }
  }
  return false;
}

void put(std::vector<std::string>& texts, std::int64_t id, std::string text) {
  if (id < 0 || static_cast<std::uint64_t>(id) >= limits::model_vocab_max) return;
  const auto index = static_cast<std::size_t>(id);
  if (index >= texts.size()) texts.resize(index + 1);
  texts[index] = std::move(text);
}

template <class Decode>
void read_pieces(const boost::json::value& vocabulary, Decode decode,
                 std::vector<std::string>& out) {
  if (const auto* object = vocabulary.if_object()) {
    for (const auto& [piece, id] : *object) {
      if (id.is_int64()) put(out, id.get_int64(), decode({piece.data(), piece.size()}));
    }
  }
  if (const auto* list = vocabulary.if_array()) {
    std::int64_t id = 0;
    for (const auto& entry : *list) {
      const auto* pair = entry.if_array();
      if (pair != nullptr && !pair->empty() && pair->front().is_string()) {
        const auto& piece = pair->front().get_string();
        put(out, id, decode({piece.data(), piece.size()}));
      }
      ++id;
    }
  }
}

}  // namespace

result<token_texts> token_texts::parse(std::string_view json) {
  const auto root = apps::parse_json(json);
  if (!root) return fail(root.error());
  const auto* object = root->if_object();
  const auto* model = object == nullptr ? nullptr : object->if_contains("model");
  const auto* vocabulary =
      model != nullptr && model->is_object() ? model->get_object().if_contains("vocab") : nullptr;
  if (vocabulary == nullptr) return fail(errc::bad_model, "tokenizer.json has no vocabulary");
  token_texts out;
  const bool is_byte_level = has_step(object->if_contains("decoder"), "ByteLevel") ||
                             has_step(object->if_contains("pre_tokenizer"), "ByteLevel");
  read_pieces(*vocabulary, is_byte_level ? from_alphabet : from_marked, out.texts_);
  const auto* added = object->if_contains("added_tokens");
  if (added == nullptr || !added->is_array()) return out;
  for (const auto& entry : added->get_array()) {
    if (!entry.is_object()) continue;
    const auto id = apps::integer_of(entry.get_object(), "id");
    const auto content = apps::text_of(entry.get_object(), "content");
    if (id && content) put(out.texts_, *id, *content);
  }
  return out;
}

result<token_texts> token_texts::read(const std::string& directory) {
  const std::string path = directory + "/tokenizer.json";
  const auto text = apps::read_text_file(path, limits::model_companion_file_bytes_max);
  if (!text) return fail(text.error());
  auto out = parse(*text);
  if (!out) return fail(errc::bad_model, path + ": " + out.error().what);
  return out;
}

std::string_view token_texts::of(token_id token) const {
  const auto index = static_cast<std::size_t>(token);
  return token < 0 || index >= texts_.size() ? std::string_view() : texts_[index];
}

void cut_at_stop(const token_texts& texts, const std::vector<std::string>& stops,
                 sampled_sequence& sequence) {
  std::size_t longest = 0;
  for (const std::string& stop : stops)
    longest = std::max(longest, stop.size());
  std::string tail;  // as much of the text as a stop may begin in
  for (std::size_t i = 0; i < sequence.tokens.size(); ++i) {
    tail += texts.of(sequence.tokens[i]);
    const bool ends = std::any_of(stops.begin(), stops.end(), [&tail](const std::string& stop) {
      return tail.find(stop) != std::string::npos;
    });
    if (ends) {
      sequence.tokens.resize(i + 1);
      sequence.logprobs.resize(i + 1);
      sequence.topk.tokens.resize(sequence.topk.per_position * (i + 1));
      sequence.topk.logprobs.resize(sequence.topk.per_position * (i + 1));
      sequence.reason = stop_reason::stop;
      return;
    }
    if (tail.size() > longest) tail.erase(0, tail.size() - longest);
  }
}

}  // namespace troupe::gateway
