# Libraries that every build needs.

set(_install "on Debian and Ubuntu: apt install libopencv-imgcodecs-dev libopencv-imgproc-dev nlohmann-json3-dev libcli11-dev")

# A header-only library as an interface target.
function(maskrcnn_headers target header)
  find_path(${target}_INCLUDE_DIR ${header})
  if(NOT ${target}_INCLUDE_DIR)
    message(FATAL_ERROR "${header} is missing; ${_install}")
  endif()
  add_library(${target} INTERFACE)
  target_include_directories(${target} SYSTEM INTERFACE ${${target}_INCLUDE_DIR})
endfunction()

maskrcnn_headers(maskrcnn_json nlohmann/json.hpp)
maskrcnn_headers(maskrcnn_cli11 CLI/CLI.hpp)

# Debian's split packages of OpenCV have no OpenCVConfig.cmake.
find_path(OPENCV_INCLUDE_DIR opencv2/imgcodecs.hpp PATH_SUFFIXES opencv4)
add_library(maskrcnn_opencv INTERFACE)
target_include_directories(maskrcnn_opencv SYSTEM INTERFACE ${OPENCV_INCLUDE_DIR})
foreach(part core imgproc imgcodecs)
  find_library(OPENCV_${part}_LIBRARY opencv_${part})
  if(NOT OPENCV_INCLUDE_DIR OR NOT OPENCV_${part}_LIBRARY)
    message(FATAL_ERROR "OpenCV's ${part} is missing; ${_install}")
  endif()
  target_link_libraries(maskrcnn_opencv INTERFACE ${OPENCV_${part}_LIBRARY})
endforeach()

set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)

include(CheckCXXSourceCompiles)
set(CMAKE_REQUIRED_FLAGS -std=c++17)
check_cxx_source_compiles("#include <charconv>
int main() { char text[32]; std::to_chars(text, text + 32, 0.1F); }" MASKRCNN_HAS_TO_CHARS)
unset(CMAKE_REQUIRED_FLAGS)
if(NOT MASKRCNN_HAS_TO_CHARS)
  message(FATAL_ERROR "the C++ library cannot print floats with std::to_chars: take GCC 11, Clang 14 or later")
endif()
