# The extension module, beside a copy of the package, in <build>/python/prom_remote_api: put
# <build>/python on PYTHONPATH and it works. Installed by the component `python`.
if(NOT PRA_SERVER)
  message(FATAL_ERROR "PRA_PYTHON needs PRA_SERVER")
endif()
if(NOT SKBUILD AND NOT Python_EXECUTABLE AND EXISTS /usr/bin/python3)
  set(Python_EXECUTABLE /usr/bin/python3) # the one whose headers the distribution has
endif()
find_package(Python 3.10 REQUIRED COMPONENTS Interpreter Development.Module)

set(python_dir ${PROJECT_BINARY_DIR}/python/prom_remote_api)
pra_swig(python wrapper -outdir ${python_dir})
file(MAKE_DIRECTORY ${python_dir})

file(GLOB sources CONFIGURE_DEPENDS thunk_python*.c)
Python_add_library(pra_python MODULE WITH_SOABI ${wrapper} ${sources})
set_target_properties(pra_python PROPERTIES
  OUTPUT_NAME _pra LIBRARY_OUTPUT_DIRECTORY ${python_dir} LINKER_LANGUAGE CXX)
target_include_directories(pra_python PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
target_link_libraries(pra_python PRIVATE pra_server_static pra_static)
target_link_options(pra_python PRIVATE -Wl,--exclude-libs,ALL
                    -Wl,--version-script=${CMAKE_CURRENT_SOURCE_DIR}/python.map)
# Debian's other archives are not position independent. crypt_gensalt, which nobody calls here, is
# all that wants random bytes, and with them glibc 2.36.
option(PRA_PYTHON_WHEEL "link snappy, libmd, libyaml and libcrypt from archives, as bindings/wheel.py wants it" OFF)
if(PRA_PYTHON_WHEEL)
  foreach(name snappy md yaml crypt)
    find_library(PRA_${name}_ARCHIVE lib${name}.a REQUIRED)
    target_link_libraries(pra_python PRIVATE ${PRA_${name}_ARCHIVE})
  endforeach()
  target_link_options(pra_python PRIVATE -Wl,--as-needed -Wl,--defsym=_crypt_get_random_bytes=0)
endif()

set(package_dir ${PROJECT_SOURCE_DIR}/python/prom_remote_api)
file(GLOB_RECURSE package RELATIVE ${package_dir} CONFIGURE_DEPENDS
     ${package_dir}/*.py ${package_dir}/*.pyi ${package_dir}/py.typed)
foreach(name IN LISTS package)
  configure_file(${package_dir}/${name} ${python_dir}/${name} COPYONLY)
endforeach()

# Calls of CPython fail on demand in a second module, in <build>/python_faults/prom_remote_api.
option(PRA_PY_FAULTS "build the Python module for tests/python/test_faults.py" OFF)
if(PRA_PY_FAULTS)
  set(faults_dir ${PROJECT_BINARY_DIR}/python_faults/prom_remote_api)
  Python_add_library(pra_python_faults MODULE WITH_SOABI ${wrapper} ${sources} python_faults.c)
  set_target_properties(pra_python_faults PROPERTIES
    OUTPUT_NAME _pra LIBRARY_OUTPUT_DIRECTORY ${faults_dir} LINKER_LANGUAGE CXX)
  target_compile_definitions(pra_python_faults PRIVATE PRA_PY_FAULTS)
  target_include_directories(pra_python_faults PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
  target_link_libraries(pra_python_faults PRIVATE pra_server_static pra_static)
  target_link_options(pra_python_faults PRIVATE -Wl,--exclude-libs,ALL)
  add_dependencies(pra_python_faults pra_python) # which has SWIG write the wrapper
  add_custom_command(TARGET pra_python_faults POST_BUILD
    COMMAND ${CMAKE_COMMAND} -E copy ${python_dir}/pra.py ${faults_dir}/pra.py)
  foreach(name IN LISTS package)
    configure_file(${package_dir}/${name} ${faults_dir}/${name} COPYONLY)
  endforeach()
endif()

install(TARGETS pra_python LIBRARY DESTINATION prom_remote_api COMPONENT python EXCLUDE_FROM_ALL)
install(FILES ${python_dir}/pra.py DESTINATION prom_remote_api COMPONENT python EXCLUDE_FROM_ALL)
