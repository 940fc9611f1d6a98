# The Lua module prom_remote_api, once per Lua version found. What is built is laid out as Lua's
# paths want it, and works without installing:
#   LUA_PATH='<build>/lua/share/?.lua;<build>/lua/share/?/init.lua;;' LUA_CPATH='<build>/lua/5.4/?.so;;' lua5.4 ...
# What is built for 5.1 loads in LuaJIT too.
if(NOT TARGET pra_server_static)
  message(FATAL_ERROR "PRA_LUA needs PRA_SERVER")
endif()
find_package(Threads REQUIRED)
set(PRA_LUA_VERSIONS "5.1;5.2;5.3;5.4" CACHE STRING "versions of Lua to build for, where found")
set(PRA_LUA_INCLUDE_DIR "" CACHE PATH
    "where lua.h is, to build for that version only; the folders below are for it alone then (LuaRocks)")
set(PRA_LUA_HOST 5.4 CACHE STRING "the version that runs the scripts of `pra serve --storage=lua:FILE`")
set(PRA_LUA_SHARE_DIR ${CMAKE_INSTALL_DATADIR}/lua CACHE STRING "where Lua modules go, below it 5.1 ...")
set(PRA_LUA_LIB_DIR lib/lua CACHE STRING "where Lua modules in C go, below it 5.1 ...")
if(PRA_LUA_INCLUDE_DIR)
  file(STRINGS ${PRA_LUA_INCLUDE_DIR}/lua.h PRA_LUA_VERSIONS REGEX "define[ \t]+LUA_VERSION_NUM")
  string(REGEX REPLACE ".*[ \t]([0-9])0([0-9])$" "\\1.\\2" PRA_LUA_VERSIONS "${PRA_LUA_VERSIONS}")
endif()
set(lua_source ${PROJECT_SOURCE_DIR}/lua)
set(lua_build ${PROJECT_BINARY_DIR}/lua)

# ---- the modules written in Lua, the same for all

file(GLOB_RECURSE lua_modules CONFIGURE_DEPENDS RELATIVE ${lua_source} ${lua_source}/prom_remote_api/*.lua)
foreach(module IN LISTS lua_modules)
  get_filename_component(folder ${lua_build}/share/${module} DIRECTORY)
  file(MAKE_DIRECTORY ${folder})
  file(CREATE_LINK ${lua_source}/${module} ${lua_build}/share/${module} SYMBOLIC)
endforeach()

# ---- the module in C

pra_swig(lua wrapper -module prom_remote_api_core)
add_custom_target(pra_lua_wrapper DEPENDS ${wrapper})
add_custom_target(pra_lua ALL)

# pra_lua_for(<version>): pra_lua<version>, and pra_lua<version>_objects, which need an interpreter.
function(pra_lua_for version)
  string(REPLACE . "" short ${version})
  set(share ${PRA_LUA_SHARE_DIR}/${version})
  set(lib ${PRA_LUA_LIB_DIR}/${version})
  if(PRA_LUA_INCLUDE_DIR)
    set(LUA${short}_INCLUDE_DIRS ${PRA_LUA_INCLUDE_DIR})
    set(share ${PRA_LUA_SHARE_DIR})
    set(lib ${PRA_LUA_LIB_DIR})
  else()
    pkg_search_module(LUA${short} IMPORTED_TARGET GLOBAL lua${version} lua-${version} lua${short})
    if(NOT LUA${short}_FOUND)
      return()
    endif()
  endif()
  set(objects pra_lua${version}_objects)
  add_library(${objects} OBJECT
    thunk_lua.c lua_build.c lua_caps.c lua_client.c lua_columns.c lua_held.c lua_histogram.c lua_host.c
    lua_integer.c lua_labels.c lua_request.c lua_serve.c lua_series.c lua_sink.c lua_views.c
    ${wrapper})
  add_dependencies(${objects} pra_lua_wrapper)
  target_include_directories(${objects} PUBLIC
    ${CMAKE_CURRENT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/core/include)
  target_include_directories(${objects} PRIVATE ${PROJECT_SOURCE_DIR}/core)
  # Not liblua: the interpreter that loads the module has the functions.
  target_include_directories(${objects} SYSTEM PUBLIC ${LUA${short}_INCLUDE_DIRS})
  target_compile_definitions(${objects} PRIVATE _GNU_SOURCE)

  add_library(pra_lua${version} MODULE $<TARGET_OBJECTS:${objects}>)
  target_link_libraries(pra_lua${version} PRIVATE pra_server_static pra_static Threads::Threads)
  # Like libpra, it stays when the state that loaded it is closed.
  target_link_options(pra_lua${version} PRIVATE -Wl,--exclude-libs,ALL -Wl,-z,nodelete)
  set_target_properties(pra_lua${version} PROPERTIES PREFIX "" OUTPUT_NAME core LINKER_LANGUAGE CXX
    LIBRARY_OUTPUT_DIRECTORY ${lua_build}/${version}/prom_remote_api)
  add_dependencies(pra_lua pra_lua${version})
  set(built ${built} ${version} PARENT_SCOPE)

  install(DIRECTORY ${lua_source}/prom_remote_api DESTINATION ${share} COMPONENT lua
          FILES_MATCHING PATTERN *.lua)
  install(TARGETS pra_lua${version} LIBRARY DESTINATION ${lib}/prom_remote_api COMPONENT lua)
  if(version STREQUAL 5.1)
    pra_lua_jit(${share}/prom_remote_api ${lib}/prom_remote_api)
  endif()
endfunction()

# What LuaJIT's FFI needs, and where it is installed.
function(pra_lua_jit share lib)
  file(MAKE_DIRECTORY ${lua_build}/5.1/prom_remote_api)
  file(CREATE_LINK ${PROJECT_BINARY_DIR}/core/libpra.so ${lua_build}/5.1/prom_remote_api/libpra.so SYMBOLIC)
  add_dependencies(pra_lua pra)
  if(PRA_LUA_INCLUDE_DIR)
    install(PROGRAMS $<TARGET_FILE:pra> DESTINATION ${lib} RENAME libpra.so COMPONENT lua)
  else()
    cmake_path(ABSOLUTE_PATH CMAKE_INSTALL_LIBDIR BASE_DIRECTORY /prefix OUTPUT_VARIABLE to)
    cmake_path(ABSOLUTE_PATH lib BASE_DIRECTORY /prefix OUTPUT_VARIABLE from)
    file(RELATIVE_PATH target ${from} ${to}/libpra.so.0)
    file(CREATE_LINK ${target} ${CMAKE_CURRENT_BINARY_DIR}/lua/libpra.so SYMBOLIC)
    install(FILES ${CMAKE_CURRENT_BINARY_DIR}/lua/libpra.so DESTINATION ${lib} COMPONENT lua)
  endif()
  include(lua_ffi.cmake)
  install(FILES ${lua_build}/share/prom_remote_api/cdef.lua DESTINATION ${share} COMPONENT lua)
endfunction()

set(built)
foreach(version IN LISTS PRA_LUA_VERSIONS)
  pra_lua_for(${version})
endforeach()
if(NOT built)
  message(FATAL_ERROR "no Lua of ${PRA_LUA_VERSIONS} found (Debian: liblua5.4-dev)")
endif()
list(JOIN built " " text)
message(STATUS "Lua versions: ${text}")
set_property(GLOBAL PROPERTY PRA_LUA_BUILT ${built})

# ---- for programs that run scripts: the modules, and an interpreter to run them in

if(NOT PRA_LUA_HOST IN_LIST built OR PRA_LUA_INCLUDE_DIR)
  return()
endif()
string(REPLACE . "" short ${PRA_LUA_HOST})
set(text)
foreach(module IN LISTS lua_modules)
  if(module MATCHES "/(ffi|nginx|cdef)")
    continue() # of LuaJIT
  endif()
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${lua_source}/${module})
  string(REGEX REPLACE "(/init)?[.]lua$" "" name ${module})
  string(REPLACE / . name ${name})
  file(READ ${lua_source}/${module} bytes HEX)
  string(REGEX REPLACE "(..)" "0x\\1," bytes "${bytes}")
  string(APPEND text "{\"${name}\", (const unsigned char[]){${bytes}0}},\n")
endforeach()
file(CONFIGURE OUTPUT lua/lua_modules.inc CONTENT "${text}")
add_library(pra_lua_host STATIC lua_modules.c $<TARGET_OBJECTS:pra_lua${PRA_LUA_HOST}_objects>)
target_include_directories(pra_lua_host PUBLIC ${CMAKE_CURRENT_SOURCE_DIR}
                           PRIVATE ${CMAKE_CURRENT_BINARY_DIR}/lua)
target_link_libraries(pra_lua_host PUBLIC pra_server_static pra_static
                      PRIVATE PkgConfig::LUA${short} Threads::Threads)
