# The Lua module prom_remote_api. <build>/lua is laid out as Lua's paths want it:
#   LUA_PATH='<build>/lua/?/init.lua;;' LUA_CPATH='<build>/lua/?.so;;' lua ...
# works without installing.
if(NOT TARGET pra_server_static)
  message(FATAL_ERROR "PRA_LUA needs PRA_SERVER")
endif()
pkg_search_module(LUA REQUIRED IMPORTED_TARGET GLOBAL lua5.4 lua-5.4 lua54 lua>=5.4)
find_package(Threads REQUIRED)
set(PRA_LUA_LUADIR ${CMAKE_INSTALL_DATADIR}/lua/5.4 CACHE STRING "where Lua modules go")
set(PRA_LUA_LIBDIR lib/lua/5.4 CACHE STRING "where Lua modules in C go")

pra_swig(lua wrapper -module prom_remote_api_core)
# The module does without liblua: the interpreter that loads it has the functions.
add_library(pra_lua_objects OBJECT thunk_lua.c lua_views.c lua_series.c lua_histogram.c ${wrapper})
get_target_property(lua_includes PkgConfig::LUA INTERFACE_INCLUDE_DIRECTORIES)
target_include_directories(pra_lua_objects PUBLIC
  ${CMAKE_CURRENT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/core/include)
target_include_directories(pra_lua_objects SYSTEM PUBLIC ${lua_includes})
target_compile_definitions(pra_lua_objects PRIVATE _GNU_SOURCE)

add_library(pra_lua MODULE $<TARGET_OBJECTS:pra_lua_objects>)
target_link_libraries(pra_lua PRIVATE pra_server_static pra_static Threads::Threads)
target_link_options(pra_lua PRIVATE -Wl,--exclude-libs,ALL)
set_target_properties(pra_lua PROPERTIES PREFIX "" OUTPUT_NAME core LINKER_LANGUAGE CXX
  LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/lua/prom_remote_api)
file(MAKE_DIRECTORY ${PROJECT_BINARY_DIR}/lua/prom_remote_api)
file(CREATE_LINK ${PROJECT_SOURCE_DIR}/lua/prom_remote_api/init.lua
     ${PROJECT_BINARY_DIR}/lua/prom_remote_api/init.lua SYMBOLIC)

# For programs that run scripts: the module, and an interpreter to run it in.
set(module ${PROJECT_SOURCE_DIR}/lua/prom_remote_api/init.lua)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${module})
file(READ ${module} bytes HEX)
string(REGEX REPLACE "(..)" "0x\\1," bytes "${bytes}")
file(CONFIGURE OUTPUT lua/lua_module.inc CONTENT "${bytes}")
add_library(pra_lua_host STATIC lua_host.c $<TARGET_OBJECTS:pra_lua_objects>)
target_include_directories(pra_lua_host PUBLIC ${CMAKE_CURRENT_SOURCE_DIR}
                           PRIVATE ${CMAKE_CURRENT_BINARY_DIR}/lua)
target_link_libraries(pra_lua_host PUBLIC pra_server_static pra_static
                      PRIVATE PkgConfig::LUA Threads::Threads)

install(FILES ${PROJECT_SOURCE_DIR}/lua/prom_remote_api/init.lua
        DESTINATION ${PRA_LUA_LUADIR}/prom_remote_api)
install(TARGETS pra_lua LIBRARY DESTINATION ${PRA_LUA_LIBDIR}/prom_remote_api)
