# cmake -D IN=pra.cdef.h -D OUT=cdef.lua -D SOVERSION=n -P lua_cdef.cmake
# The declarations for LuaJIT's ffi.cdef, as a Lua module.
file(READ ${IN} text)
string(FIND "${text}" "]==]" end)
if(NOT end EQUAL -1)
  message(FATAL_ERROR "${IN} cannot be quoted in Lua")
endif()
file(WRITE ${OUT} "-- Made from pra.h by the build.\nreturn { soversion = ${SOVERSION}, text = [==[\n${text}]==] }\n")
