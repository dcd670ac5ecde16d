#include "storage/record.hpp"

namespace troupe::storage {

error undecodable_record(const error& reason) {
  return {errc::corrupt, "a stored record cannot be read: " + reason.what,
          "it is damaged, or a newer version of Troupe wrote it",
          "run the version that wrote it, or restore the data folder from a copy"};
}

}  // namespace troupe::storage
