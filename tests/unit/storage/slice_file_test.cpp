#include "storage/slice_file.hpp"

#include <numeric>

#include <boost/test/unit_test.hpp>

#include "storage/open_store.hpp"
#include "storage/slice_name.hpp"

using namespace troupe;
using namespace troupe::storage;

namespace {

using verification = slice_reader::verification;

std::vector<float> ramp(std::uint64_t begin, std::uint64_t end) {
  std::vector<float> values(end - begin);
  std::iota(values.begin(), values.end(), static_cast<float>(begin));
  return values;
}

/// A file with the given ranges of parameter 3's weights; element i has value i.
checkpoint_file write_ranges(blob_store& blobs, std::uint32_t rank,
                             const std::vector<std::pair<std::uint64_t, std::uint64_t>>& ranges) {
  std::vector<slice_entry> entries;
  for (const auto& [begin, end] : ranges)
    entries.push_back({slice_part::weights, 3, begin, end});
  auto writer = slice_writer::create(blobs, dtype::f32, entries).value();
  for (const auto& [begin, end] : ranges)
    BOOST_REQUIRE(writer.append(ramp(begin, end)));
  const auto info = writer.commit().value();
  return {info.blob, info.bytes, rank};
}

}  // namespace

BOOST_AUTO_TEST_CASE(any_range_is_read_across_files) {
  const auto blobs = make_memory_blob_store();
  const std::vector<checkpoint_file> files = {write_ranges(*blobs, 0, {{0, 10}, {30, 40}}),
                                              write_ranges(*blobs, 1, {{10, 30}}),
                                              write_ranges(*blobs, 2, {{40, 41}, {5, 12}})};
  auto reader = slice_reader::open(*blobs, files, verification::contents).value();
  for (std::uint64_t begin = 0; begin <= 41; ++begin) {
    for (std::uint64_t end = begin; end <= 41; ++end) {
      std::vector<float> values(end - begin);
      BOOST_REQUIRE(reader.read(slice_part::weights, 3, begin, std::span<float>(values)));
      BOOST_REQUIRE((values == ramp(begin, end)));
    }
  }
}

BOOST_AUTO_TEST_CASE(a_range_in_no_file_is_not_found) {
  const auto blobs = make_memory_blob_store();
  const auto file = write_ranges(*blobs, 0, {{0, 10}, {12, 20}});
  auto reader = slice_reader::open(*blobs, {file}, verification::headers).value();
  std::vector<float> values(4);
  const std::span<float> out(values);
  BOOST_TEST((reader.read(slice_part::weights, 3, 8, out).error().code == errc::not_found));
  BOOST_TEST((reader.read(slice_part::weights, 3, 18, out).error().code == errc::not_found));
  BOOST_TEST((reader.read(slice_part::weights, 2, 0, out).error().code == errc::not_found));
  BOOST_TEST((reader.read(slice_part::exp_avg, 3, 0, out).error().code == errc::not_found));
  std::vector<std::uint16_t> bits(4);
  BOOST_TEST((reader.read(slice_part::weights, 3, 0, std::span<std::uint16_t>(bits)).error().code ==
              errc::invalid_argument));
}

BOOST_AUTO_TEST_CASE(bits_keep_every_pattern) {
  const auto blobs = make_memory_blob_store();
  std::vector<std::uint16_t> all(65536);
  std::iota(all.begin(), all.end(), std::uint16_t{0});
  auto writer =
      slice_writer::create(*blobs, dtype::bf16, {{slice_part::weights, 0, 7, 7 + 65536}}).value();
  BOOST_REQUIRE(writer.append(std::span<const std::uint16_t>(all)));
  const auto info = writer.commit().value();
  auto reader =
      slice_reader::open(*blobs, {{info.blob, info.bytes, 0}}, verification::contents).value();
  std::vector<std::uint16_t> read(65536);
  BOOST_REQUIRE(reader.read(slice_part::weights, 0, 7, std::span<std::uint16_t>(read)));
  BOOST_TEST((read == all));
}

BOOST_AUTO_TEST_CASE(a_writer_keeps_to_its_announcement) {
  const auto blobs = make_memory_blob_store();
  const std::vector<slice_entry> entries = {{slice_part::weights, 0, 0, 4}};
  auto writer = slice_writer::create(*blobs, dtype::f32, entries).value();
  const std::vector<float> three(3), four(4);
  const std::vector<std::uint16_t> bits(4);
  BOOST_TEST((writer.append(three).error().code == errc::internal));
  BOOST_TEST((writer.append(bits).error().code == errc::internal));
  BOOST_TEST((writer.commit().error().code == errc::internal));
  BOOST_REQUIRE(writer.append(four));
  BOOST_TEST((writer.append(four).error().code == errc::internal));
  BOOST_TEST(writer.commit().has_value());
}

BOOST_AUTO_TEST_CASE(impossible_listings_are_refused) {
  const auto blobs = make_memory_blob_store();
  const slice_entry entry{slice_part::exp_avg, 1, 4, 8};
  const slice_entry backwards{slice_part::exp_avg, 1, 8, 4};
  BOOST_TEST((slice_writer::create(*blobs, dtype::f32, {entry, entry}).error().code ==
              errc::invalid_argument));
  BOOST_TEST((slice_writer::create(*blobs, dtype::f32, {backwards}).error().code ==
              errc::invalid_argument));
}

BOOST_AUTO_TEST_CASE(names_are_read_only_as_they_are_written) {
  const slice_entry entry{slice_part::exp_avg_sq, 12, 345, 345};
  BOOST_TEST(slice_name(entry) == "exp_avg_sq/12/345");
  const auto parsed = parse_slice_name("exp_avg_sq/12/345").value();
  BOOST_TEST((parsed.part == slice_part::exp_avg_sq));
  BOOST_TEST(parsed.parameter == 12U);
  BOOST_TEST(parsed.begin == 345U);
  for (const char* name : {"", "weights", "weights/1", "weights//1", "weights/1/", "weights/01/1",
                           "weights/1/+1", "weights/1/-1", "weights/1/1/1", "weights/1/1 ",
                           "other/1/1", "weights/4294967296/1", "weights/1/18446744073709551616"})
    BOOST_TEST((parse_slice_name(name).error().code == errc::corrupt));
}

BOOST_AUTO_TEST_CASE(a_record_with_another_size_is_refused) {
  const auto blobs = make_memory_blob_store();
  auto file = write_ranges(*blobs, 0, {{0, 10}});
  ++file.bytes;
  const auto reader = slice_reader::open(*blobs, {file}, verification::headers);
  BOOST_REQUIRE(!reader);
  BOOST_TEST((reader.error().code == errc::corrupt));
}
