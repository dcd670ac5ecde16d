# How this project declares its targets: warnings are errors and sanitizers reach everything.
add_library(troupe_flags INTERFACE)
target_compile_options(troupe_flags INTERFACE -Wall -Wextra -Wpedantic -Wconversion -Wshadow
                                              -Wnon-virtual-dtor -Werror)
if(TROUPE_SANITIZE)
  string(REPLACE ";" "," sanitize_list "${TROUPE_SANITIZE}")
  target_compile_options(troupe_flags INTERFACE -fsanitize=${sanitize_list}
                                                -fno-omit-frame-pointer -g1)
  target_link_options(troupe_flags INTERFACE -fsanitize=${sanitize_list})
endif()
target_include_directories(troupe_flags INTERFACE ${CMAKE_SOURCE_DIR})

# troupe_library(NAME SOURCES a.cpp ... USES target ... PRIVATE_USES target ...)
function(troupe_library name)
  cmake_parse_arguments(arg "" "" "SOURCES;USES;PRIVATE_USES" ${ARGN})
  add_library(${name} STATIC ${arg_SOURCES})
  target_link_libraries(${name} PUBLIC troupe_flags ${arg_USES} PRIVATE ${arg_PRIVATE_USES})
endfunction()

# troupe_cuda_library(NAME SOURCES a.cu ... USES target ...)
function(troupe_cuda_library name)
  cmake_parse_arguments(arg "" "" "SOURCES;USES" ${ARGN})
  add_library(${name} STATIC ${arg_SOURCES})
  target_include_directories(${name} PUBLIC ${CMAKE_SOURCE_DIR})
  target_compile_options(${name} PRIVATE -Xcompiler=-Wall,-Wextra,-Werror --Werror=all-warnings
                                         --expt-relaxed-constexpr)
  # The warnings of C++ targets are not nvcc's; only what they link is taken over.
  list(TRANSFORM arg_USES PREPEND "$<LINK_ONLY:")
  list(TRANSFORM arg_USES APPEND ">")
  target_link_libraries(${name} PUBLIC CUDA::cudart PRIVATE ${arg_USES})
endfunction()

# troupe_program(NAME SOURCES a.cpp ... USES target ...)
function(troupe_program name)
  cmake_parse_arguments(arg "" "" "SOURCES;USES" ${ARGN})
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE troupe_flags ${arg_USES})
endfunction()

# troupe_test(NAME LABEL label SOURCES a.cpp ... USES target ...): one Boost.Test program, one test.
function(troupe_test name)
  cmake_parse_arguments(arg "" "LABEL;TIMEOUT" "SOURCES;USES" ${ARGN})
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 120)
  endif()
  troupe_program(${name} SOURCES ${arg_SOURCES} USES ${arg_USES} Boost::unit_test_framework)
  target_compile_definitions(${name} PRIVATE BOOST_TEST_DYN_LINK)
  # Only one unit of a program brings Boost.Test's main.
  list(GET arg_SOURCES 0 first_source)
  set_source_files_properties(${first_source} PROPERTIES COMPILE_DEFINITIONS
                                                         BOOST_TEST_MODULE=${name})
  add_test(NAME ${name} COMMAND ${name} --log_level=message)
  set_tests_properties(${name} PROPERTIES LABELS ${arg_LABEL} TIMEOUT ${arg_TIMEOUT})
endfunction()
