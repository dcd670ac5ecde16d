# Switches a user may set; everything else is decided by the build.
option(TROUPE_TESTS "Build the tests" ON)
option(TROUPE_FAILPOINTS "Let tests kill a process at named points and plant bugs" ON)
option(TROUPE_TORCH "Build the libtorch engine and the programs that need it" ON)
set(TROUPE_SANITIZE "" CACHE STRING "address;undefined or thread: sanitizers for all own code")
set(TROUPE_CACHE "" CACHE PATH "Where scripts/bootstrap.sh keeps libtorch and CAF")

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()

if(NOT TROUPE_CACHE)
  if(DEFINED ENV{TROUPE_CACHE})
    set(TROUPE_CACHE $ENV{TROUPE_CACHE})
  elseif(DEFINED ENV{XDG_CACHE_HOME})
    set(TROUPE_CACHE $ENV{XDG_CACHE_HOME}/troupe)
  else()
    set(TROUPE_CACHE $ENV{HOME}/.cache/troupe)
  endif()
endif()

# A toolkit of the machine, or the compiler that scripts/bootstrap.sh --cuda brings.
file(GLOB own_nvcc ${TROUPE_CACHE}/python/lib/python3*/site-packages/nvidia/cu13/bin)
find_program(NVCC nvcc HINTS /usr/local/cuda/bin ${own_nvcc})
if(NVCC)
  set(TROUPE_CUDA_DEFAULT ON)
else()
  set(TROUPE_CUDA_DEFAULT OFF)
  message(STATUS "no nvcc: kernels and NCCL for GPUs are not built")
endif()
option(TROUPE_CUDA "Build what GPUs run: kernels, NCCL; needs nvcc, but no GPU"
       ${TROUPE_CUDA_DEFAULT})

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_CXX_FLAGS_RELEASE "-O2")
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)

find_program(CCACHE ccache)
if(CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER
      ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros
      CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1 ${CCACHE})
endif()
find_program(MOLD mold)
if(MOLD)
  add_link_options(-fuse-ld=mold)
endif()
