/* SPDX-License-Identifier: Apache-2.0 */
/* The Lua side of pra.i. lua/prom_remote_api is written on top of what is shown here. */
%{
#include <string.h>
#include "thunk_lua.h"

/* SWIG would take any userdata, such as a file, for one of its own to name its type. */
#undef SWIG_fail_arg
#define SWIG_fail_arg(function, number, wanted)                                                    \
    return luaL_error(L, "Error in %s (arg %d), expected '%s' got '%s'", function, number, wanted, \
                      luaL_typename(L, number))
%}

/* A failure is nil, message, code. */
%typemap(argout) pra_error *err
{
    if ($1->code != 0) {
        lua_pushnil(L);
        (void)lua_pushstring(L, $1->message);
        lua_pushinteger(L, $1->code);
        return 3;
    }
}

/* Integers: see lua_compat.h. */
%typemap(in) int, int32_t
    "$1 = ($1_ltype)pra__lua_check_int64(L, $input, INT32_MIN, INT32_MAX);"
%typemap(in) uint32_t
    "$1 = (uint32_t)pra__lua_check_int64(L, $input, 0, UINT32_MAX);"
%typemap(in) uint64_t, size_t
    "$1 = ($1_ltype)pra__lua_check_uint64(L, $input);"
%typemap(out) int, int32_t, uint32_t, uint16_t
    "lua_pushinteger(L, (lua_Integer)$1); SWIG_arg++;"
%typemap(out) uint64_t, size_t
    "pra__lua_push_uint64(L, $1); SWIG_arg++;"

%typemap(in, checkfn = "lua_isstring") pra_str
    "$1.ptr = lua_tolstring(L, $input, &$1.len);"
%typemap(out) pra_str
    "pra__lua_push_str(L, $1); SWIG_arg++;"
%typemap(out) pra_bytes
%{
    if ($1.ptr) {
        pra__lua_push_str(L, $1);
    } else {
        lua_pushnil(L);
    }
    SWIG_arg++;
%}
%typemap(in, checkfn = "lua_isstring") (const void *data, size_t len)
    "$1 = lua_tolstring(L, $input, &$2);"

/* A table by names of headers; the value of each a string. */
%typemap(in, checkfn = "lua_istable") pra_headers
    "$1.items = headers_from(L, $input, &$1.count);"
%{
static const pra_header *headers_from(lua_State *L, int index, size_t *out_count)
{
    size_t room = pra__lua_labels_count(L, index);
    pra_header *items = lua_newuserdatauv(L, room * sizeof *items + 1, 0);
    pra_label *labels = lua_newuserdatauv(L, room * sizeof *labels + 1, 0);
    size_t count = pra__lua_labels_fill(L, index, labels, room);
    for (size_t i = 0; i < count; i++) {
        items[i] = (pra_header){labels[i].name, labels[i].value};
    }
    *out_count = count;
    return items;
}
%}

/* The options of pra.handler and pra.serve: what pra__lua_storage_new takes, or a host. */
%typemap(in, checkfn = "lua_istable") const pra_storage *storage(pra_storage storage)
{
    if (!pra__lua_host_take(L, $input, &storage)) {
        pra__lua_storage_new(L, $input, NULL, &storage);
    }
    $1 = &storage;
}

%typemap(in, numinputs = 0) pra_log log
    "$1 = (pra_log){NULL, pra__lua_stderr_log};"

%typemap(in, checkfn = "pra__lua_is_host") pra__lua_host *host
    "$1 = pra__lua_to_host(L, $input);"
%typemap(in, checkfn = "lua_isfunction") int announce
    "$1 = $input;"

/* Callbacks run on the state that drives the exchange, perhaps a coroutine. */
%exception Exchange::run
{
    lua_State *previous = pra__lua_enter(L);
    $action
    pra__lua_leave(L, previous);
}

%typemap(out) uint64_t body_length
%{
    if ($1 == UINT64_MAX) {
        lua_pushnil(L);
    } else {
        pra__lua_push_uint64(L, $1);
    }
    SWIG_arg++;
%}
%extend Exchange {
    void reset(void) { pra_exchange_reset($self->exchange); }
}

%extend Server {
    /* Calls announce and serves until SIGINT or SIGTERM; returns its number. On SIGHUP host, or
     * nil, reloads. */
    int serve(lua_State *L, uint32_t grace_ms, pra__lua_host *host, int announce, pra_error *err)
    {
        return checked(pra__lua_serve(L, $self->server, grace_ms, host, announce, err), err);
    }
}

%init %{
    static const char *const globals[] = {"swig_type", "swig_equals"}; /* they take any userdata */
    for (size_t i = 0; i < sizeof globals / sizeof *globals; i++) {
        lua_pushnil(L);
        lua_setglobal(L, globals[i]);
    }
    pra__lua_open(L);
    all_results(L, "Handler", make_handler);
    all_results(L, "Exchange", make_exchange);
    all_results(L, "Server", make_server);
%}
%wrapper %{
const pra_limits *pra__lua_limits(lua_State *L, int index)
{
    void *limits = NULL;
    if (!lua_isnoneornil(L, index) &&
        !SWIG_IsOK(SWIG_ConvertPtr(L, index, &limits, SWIGTYPE_p_Limits, 0))) {
        (void)luaL_error(L, "limits are no Limits");
    }
    return limits;
}

/* SWIG's constructors pass on one result; these all three of a failure. */
static int _wrap_new_Handler(lua_State *L);
static int _wrap_new_Exchange(lua_State *L);
static int _wrap_new_Server(lua_State *L);

static int make(lua_State *L, lua_CFunction wrapper)
{
    lua_remove(L, 1);
    return wrapper(L);
}
static int make_handler(lua_State *L) { return make(L, _wrap_new_Handler); }
static int make_exchange(lua_State *L) { return make(L, _wrap_new_Exchange); }
static int make_server(lua_State *L) { return make(L, _wrap_new_Server); }

static void all_results(lua_State *L, const char *name, lua_CFunction function)
{
    lua_getfield(L, -1, name);
    if (lua_getmetatable(L, -1)) {
        lua_pushcfunction(L, function);
        lua_setfield(L, -2, "__call");
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}
%}
