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

# Add an engine whose runtime has been found, as an imported or interface target, or say that it is left out.
macro(maskrcnn_engine name found library)
  string(TOUPPER ${name} _upper)
  set(MASKRCNN_WITH_${_upper} false)
  if(${found} AND ${name} IN_LIST MASKRCNN_ENGINES)
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
maskrcnn_engine(openvino "${OpenVINO_FOUND}" openvino::runtime)

set(MASKRCNN_WITH_LITE false)
set(MASKRCNN_WITH_ACL false)
set(MASKRCNN_WITH_MINDSPORE false)
