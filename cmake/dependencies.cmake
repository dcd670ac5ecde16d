# Third-party libraries as imported targets, all treated as system headers.
find_package(OpenSSL 3 REQUIRED)
find_package(Threads REQUIRED)
set(Boost_NO_WARN_NEW_VERSIONS ON)
find_package(Boost 1.81 EXACT REQUIRED COMPONENTS json unit_test_framework)

function(import_library name header library)
  find_path(${name}_INCLUDE ${header} REQUIRED)
  find_library(${name}_LIBRARY ${library} REQUIRED)
  add_library(third_party::${name} INTERFACE IMPORTED GLOBAL)
  target_include_directories(third_party::${name} SYSTEM INTERFACE ${${name}_INCLUDE})
  target_link_libraries(third_party::${name} INTERFACE ${${name}_LIBRARY})
endfunction()

import_library(rocksdb rocksdb/db.h rocksdb)
import_library(zstd zstd.h zstd)
import_library(zlib zlib.h z)
import_library(xxhash xxhash.h xxhash)
import_library(capnp capnp/message.h capnp)
import_library(kj kj/common.h kj)
target_link_libraries(third_party::capnp INTERFACE third_party::kj)
import_library(protobuf google/protobuf/message.h protobuf)
find_program(PROTOC protoc REQUIRED)
import_library(prometheus prometheus/registry.h prometheus-cpp-core)
import_library(libarchive archive.h archive)
find_program(CAPNP capnp REQUIRED)
find_program(CAPNPC_CXX capnpc-c++ REQUIRED)

file(GLOB caf_prefixes ${TROUPE_CACHE}/caf-0.18.7-*)
find_package(CAF COMPONENTS core io openssl REQUIRED PATHS ${caf_prefixes} NO_DEFAULT_PATH)
if(NOT CAF_VERSION VERSION_EQUAL 0.18.7)
  message(FATAL_ERROR "CAF 0.18.7 is needed, found ${CAF_VERSION}: run scripts/bootstrap.sh")
endif()
foreach(part core io openssl)
  get_target_property(caf_include CAF::${part} INTERFACE_INCLUDE_DIRECTORIES)
  set_target_properties(CAF::${part} PROPERTIES INTERFACE_SYSTEM_INCLUDE_DIRECTORIES
                                                "${caf_include}")
endforeach()

if(TROUPE_CUDA)
  set(CMAKE_CUDA_COMPILER ${NVCC})
  # One for each generation that trains language models; newer ones run the last by translation.
  set(CMAKE_CUDA_ARCHITECTURES 80-real 90)
  enable_language(CUDA)
  # CMake 3.25 does not know that newer compilers have it.
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
  find_package(CUDAToolkit REQUIRED)
endif()

if(TROUPE_TORCH)
  file(GLOB torch_root ${TROUPE_CACHE}/python/lib/python3*/site-packages/torch)
  if(NOT torch_root)
    message(FATAL_ERROR "libtorch is missing under ${TROUPE_CACHE}: run scripts/bootstrap.sh")
  endif()
  # find_package(Torch) insists on a CUDA toolkit; these are the libraries a CPU program needs.
  add_library(third_party::torch INTERFACE IMPORTED GLOBAL)
  target_include_directories(third_party::torch SYSTEM INTERFACE
    ${torch_root}/include ${torch_root}/include/torch/csrc/api/include)
  target_link_libraries(third_party::torch INTERFACE
    ${torch_root}/lib/libtorch_cpu.so ${torch_root}/lib/libc10.so)
  target_link_options(third_party::torch INTERFACE -Wl,-rpath,${torch_root}/lib)
endif()
