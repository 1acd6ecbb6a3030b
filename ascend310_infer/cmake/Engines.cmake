# Which engines can be built here. Sets MASKRCNN_WITH_<ENGINE> to true or false, MASKRCNN_ENGINE_SOURCES and
# MASKRCNN_ENGINE_LIBRARIES.

set(MASKRCNN_ENGINE_SOURCES)
set(MASKRCNN_ENGINE_LIBRARIES)

# The Python whose packages bring OpenVINO and MindSpore; -DPython3_EXECUTABLE names it.
find_package(Python3 COMPONENTS Interpreter QUIET)

function(python_result result code)
  set(output "")
  if(Python3_EXECUTABLE)
    execute_process(COMMAND ${Python3_EXECUTABLE} -c "${code}" OUTPUT_VARIABLE output ERROR_QUIET
                    OUTPUT_STRIP_TRAILING_WHITESPACE)
  endif()
  set(${result} "${output}" PARENT_SCOPE)
endfunction()

# Add an engine if the library that stands for its runtime, a target, has been made; say whether.
macro(maskrcnn_engine name library)
  string(TOUPPER ${name} _upper)
  set(MASKRCNN_WITH_${_upper} false)
  if(TARGET ${library} AND ${name} IN_LIST MASKRCNN_ENGINES)
    set(MASKRCNN_WITH_${_upper} true)
    list(APPEND MASKRCNN_ENGINE_SOURCES src/engines/${name}.cpp)
    list(APPEND MASKRCNN_ENGINE_LIBRARIES ${library})
  endif()
  message(STATUS "Engine ${name}: ${MASKRCNN_WITH_${_upper}}")
endmacro()

# --- OpenVINO: the pip wheel has headers, libraries and a CMake configuration ---
if(openvino IN_LIST MASKRCNN_ENGINES)
  if(NOT OpenVINO_DIR)
    python_result(_folder "import importlib.util as u; print(u.find_spec('openvino').submodule_search_locations[0])")
    if(_folder)
      set(OpenVINO_DIR ${_folder}/cmake)
    endif()
  endif()
  find_package(OpenVINO QUIET COMPONENTS Runtime)
endif()
maskrcnn_engine(openvino openvino::runtime)

# --- MindSpore in Python: needs libpython to embed it; pybind11's headers are in MindSpore's wheel ---
if(mindspore IN_LIST MASKRCNN_ENGINES)
  find_package(Python3 COMPONENTS Interpreter Development.Embed QUIET)
  python_result(_folder "import importlib.util as u; print(u.find_spec('mindspore').submodule_search_locations[0])")
  find_path(PYBIND11_INCLUDE_DIR pybind11/embed.h HINTS ${_folder}/include/third_party)
  python_result(_numpy "import numpy; print(numpy.__version__)")
  if(Python3_Development.Embed_FOUND AND _folder AND _numpy AND PYBIND11_INCLUDE_DIR)
    add_library(maskrcnn_python INTERFACE)
    target_include_directories(maskrcnn_python SYSTEM INTERFACE ${PYBIND11_INCLUDE_DIR})
    target_link_libraries(maskrcnn_python INTERFACE Python3::Python)
  endif()
endif()
maskrcnn_engine(mindspore maskrcnn_python)

# --- AscendCL: CANN's toolkit or its inference packages ---
if(acl IN_LIST MASKRCNN_ENGINES AND NOT TARGET maskrcnn_acl)
  set(_places $ENV{ASCEND_HOME_PATH} $ENV{ASCEND_TOOLKIT_HOME} $ENV{ASCEND_NNRT_HOME}
      /usr/local/Ascend/ascend-toolkit/latest /usr/local/Ascend/nnrt/latest /usr/local/Ascend/latest)
  find_path(ACL_INCLUDE_DIR acl/acl.h HINTS ${_places} PATH_SUFFIXES include runtime/include acllib/include)
  find_library(ACL_LIBRARY ascendcl HINTS ${_places} PATH_SUFFIXES lib64 runtime/lib64 acllib/lib64)
  if(ACL_INCLUDE_DIR AND ACL_LIBRARY)
    add_library(maskrcnn_acl INTERFACE)
    target_include_directories(maskrcnn_acl SYSTEM INTERFACE ${ACL_INCLUDE_DIR})
    target_link_libraries(maskrcnn_acl INTERFACE ${ACL_LIBRARY})
    target_link_options(maskrcnn_acl INTERFACE -Wl,--allow-shlib-undefined)  # it finds its own libraries at run time
  endif()
endif()
maskrcnn_engine(acl maskrcnn_acl)

# --- MindSpore Lite: the unpacked archive of the vendor, which LITE_HOME names ---
if(lite IN_LIST MASKRCNN_ENGINES AND NOT TARGET maskrcnn_lite)
  find_path(LITE_INCLUDE_DIR include/api/model.h HINTS $ENV{LITE_HOME}/runtime NO_DEFAULT_PATH)
  find_library(LITE_LIBRARY mindspore-lite HINTS $ENV{LITE_HOME}/runtime/lib)
  if(LITE_INCLUDE_DIR AND LITE_LIBRARY)
    add_library(maskrcnn_lite INTERFACE)
    target_include_directories(maskrcnn_lite SYSTEM INTERFACE ${LITE_INCLUDE_DIR} ${LITE_INCLUDE_DIR}/include)
    target_link_libraries(maskrcnn_lite INTERFACE ${LITE_LIBRARY})
    target_link_options(maskrcnn_lite INTERFACE -Wl,--allow-shlib-undefined)  # it finds its own libraries at run time
  endif()
endif()
maskrcnn_engine(lite maskrcnn_lite)
