/* SPDX-License-Identifier: Apache-2.0 */
/* pra.serve: the calling state waits while threads of the server call Lua, in this state or in
 * those of a host. */
#include <pthread.h>
#include <stdio.h>

#include "server/signals.h"
#include "thunk_lua.h"

void pra__lua_stderr_log(void *ctx, int32_t level, const char *fields_cstr)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    (void)ctx;
    if (level >= PRA_LOG_INFO) {
        (void)fprintf(stderr, "level=%s %s\n", names[level & 3], fields_cstr);
    }
}

/* Until a signal ends it; its number, or a PRA_ERR_ code. */
static int run(pra_server *server, uint32_t grace_ms, pra__lua_host *host, const sigset_t *signals,
               pra_error *err)
{
    int result = pra_server_start(server, err);
    if (result != PRA_OK) {
        return result;
    }
    while ((result = pra__signal_wait(signals)) == SIGHUP) {
        (void)pra__lua_host_reload(host);
    }
    (void)pra_server_stop(server, grace_ms);
    if (host) {
        pra__lua_host_close(host); /* before a signal can end the process */
    }
    pra__signal_drop(signals);
    return result;
}

int pra__lua_serve(lua_State *L, pra_server *server, uint32_t grace_ms, pra__lua_host *host,
                   int announce, pra_error *err)
{
    sigset_t signals, before;
    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGINT);
    (void)sigaddset(&signals, SIGTERM);
    if (host) {
        (void)sigaddset(&signals, SIGHUP);
    }
    /* Before anyone knows that it runs; the server's threads inherit it. */
    (void)pthread_sigmask(SIG_BLOCK, &signals, &before);
    lua_pushvalue(L, announce);
    int raised = lua_pcall(L, 0, 0, 0), result = PRA_OK;
    if (raised == LUA_OK) {
        lua_State *previous = pra__lua_enter(L);
        result = run(server, grace_ms, host, &signals, err);
        pra__lua_leave(L, previous);
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return raised == LUA_OK ? result : lua_error(L);
}

/* ---- a host as an object */

enum { MOST_WORKERS = 1024 }; /* as in the program pra */

typedef struct host_object {
    pra__lua_host *host;
    pra_storage storage; /* vtbl NULL: a handler has it */
} host_object;

static int host_gc(lua_State *L)
{
    host_object *object = lua_touserdata(L, 1);
    if (object->storage.vtbl) {
        object->storage.vtbl->destroy(object->storage.self);
    }
    pra__lua_host_free(object->host);
    *object = (host_object){0};
    return 0;
}

int pra__lua_is_host(lua_State *L, int index)
{
    return lua_isnil(L, index) || luaL_testudata(L, index, PRA__LUA_HOST) != NULL;
}

pra__lua_host *pra__lua_to_host(lua_State *L, int index)
{
    host_object *object = luaL_testudata(L, index, PRA__LUA_HOST);
    return object ? object->host : NULL;
}

int pra__lua_host_take(lua_State *L, int index, pra_storage *out)
{
    (void)lua_getfield(L, index, "host");
    host_object *object = luaL_testudata(L, -1, PRA__LUA_HOST);
    lua_pop(L, 1);
    if (!object || !object->storage.vtbl) {
        return 0;
    }
    *out = object->storage;
    object->storage.vtbl = NULL;
    return 1;
}

/* Field name of the table at 1: a string, or NULL; the table keeps it alive. */
static const char *text_field(lua_State *L, const char *name)
{
    int type = lua_getfield(L, 1, name);
    if (type != LUA_TNIL && type != LUA_TSTRING) {
        (void)luaL_error(L, "%s is a string, not a %s", name, luaL_typename(L, -1));
    }
    const char *text = lua_tostring(L, -1);
    lua_pop(L, 1);
    return text;
}

/* host{script =, workers =, max_memory =, max_instructions =, path =, cpath =}: a host, for the
 * field host of a handler's options; or nil, message, code. */
static int host_new(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    pra__lua_host_opts opts = {.path_cstr = text_field(L, "script"),
                               .max_memory = pra__lua_cap(L, 1, "max_memory"),
                               .max_instructions = pra__lua_cap(L, 1, "max_instructions"),
                               .log = {NULL, pra__lua_stderr_log},
                               .package_path_cstr = text_field(L, "path"),
                               .package_cpath_cstr = text_field(L, "cpath")};
    if (!opts.path_cstr) {
        return luaL_error(L, "script is the name of a file");
    }
    int64_t workers = 0;
    (void)lua_getfield(L, 1, "workers");
    if (!pra__lua_to_int64(L, -1, &workers) || workers < 1 || workers > MOST_WORKERS) {
        return luaL_error(L, "workers is a number from 1 to %d", (int)MOST_WORKERS);
    }
    opts.workers = (uint32_t)workers;
    host_object *object = lua_newuserdatauv(L, sizeof *object, 0);
    *object = (host_object){0};
    luaL_setmetatable(L, PRA__LUA_HOST);
    pra_error err = {0};
    int code = pra__lua_host_new(&opts, &object->storage, &object->host, &err);
    if (code != PRA_OK) {
        lua_pushnil(L);
        (void)lua_pushstring(L, err.message);
        lua_pushinteger(L, code);
        return 3;
    }
    return 1;
}

/* host_close(host): closes its states. */
static int host_close(lua_State *L)
{
    host_object *object = luaL_checkudata(L, 1, PRA__LUA_HOST);
    pra__lua_host_close(object->host);
    return 0;
}

void pra__lua_serve_register(lua_State *L)
{
    (void)luaL_newmetatable(L, PRA__LUA_HOST);
    lua_pushcfunction(L, host_gc);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
    lua_pushcfunction(L, host_new);
    lua_setfield(L, -2, "host");
    lua_pushcfunction(L, host_close);
    lua_setfield(L, -2, "host_close");
}
