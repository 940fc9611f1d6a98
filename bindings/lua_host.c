/* SPDX-License-Identifier: Apache-2.0 */
#include "lua_host.h"

#include <lualib.h>
#include <string.h>

#include "thunk_lua.h"

/* One state runs one request at a time; a worker always comes to the same one. */
typedef struct slot {
    lua_State *L;
    pra_storage storage;
} slot;

typedef struct host {
    pra_storage_vtbl vtbl;
    size_t room, count;
    slot slots[];
} host;

static size_t host_size(size_t room)
{
    return sizeof(host) + room * sizeof(slot);
}

static const pra_storage *storage_of(void *self, const pra_context *ctx)
{
    host *h = self;
    return &h->slots[pra_context_worker(ctx) % h->count].storage;
}

static int on_write(void *self, const pra_context *ctx, const pra_write_request *request,
                    pra_write_result *result, pra_error *err)
{
    const pra_storage *storage = storage_of(self, ctx);
    return storage->vtbl->write(storage->self, ctx, request, result, err);
}

static int on_process_query(void *self, const pra_context *ctx, const pra_query *query,
                            pra_series_sink *sink, pra_error *err)
{
    const pra_storage *storage = storage_of(self, ctx);
    return storage->vtbl->process_query(storage->self, ctx, query, sink, err);
}

static int on_read(void *self, const pra_context *ctx, const pra_read_request *request,
                   pra_series_sink *const *sinks, pra_error *err)
{
    const pra_storage *storage = storage_of(self, ctx);
    return storage->vtbl->read(storage->self, ctx, request, sinks, err);
}

static void on_destroy(void *self)
{
    host *h = self;
    for (size_t i = 0; i < h->count; i++) {
        if (h->slots[i].storage.vtbl) {
            h->slots[i].storage.vtbl->destroy(h->slots[i].storage.self);
        }
        lua_close(h->slots[i].L);
    }
    const pra_alloc *alloc = pra_alloc_libc();
    (void)alloc->fn(alloc->ctx, h, host_size(h->room), 0);
}

/* ---- running the script */

int luaopen_prom_remote_api_core(lua_State *L);

/* The modules written in Lua, from the sources. */
static const struct module {
    const char *name;
    const unsigned char *text; /* ends with a 0 */
} modules[] = {
#include "lua_modules.inc"
};

static int open_core(lua_State *L)
{
    (void)luaopen_prom_remote_api_core(L);
    lua_pushboolean(L, 1);
    lua_setfield(L, -2, "hosted");
    return 1;
}

static int open_module(lua_State *L)
{
    const struct module *module = lua_touserdata(L, lua_upvalueindex(1));
    const char *text = (const char *)module->text;
    (void)lua_pushfstring(L, "=%s", module->name);
    if (luaL_loadbuffer(L, text, strlen(text), lua_tostring(L, -1)) != LUA_OK) {
        return lua_error(L);
    }
    lua_call(L, 0, 1);
    return 1;
}

typedef struct load {
    const char *path;
    const pra__lua_log *log;
    pra_storage storage;
    lua_Integer threads; /* that the storage asks for; 0 = any number */
} load;

static void preload(lua_State *L)
{
    luaL_openlibs(L);
    luaL_requiref(L, "prom_remote_api.core", open_core, 0);
    lua_getglobal(L, "package");
    (void)lua_getfield(L, -1, "preload");
    for (size_t i = 0; i < sizeof modules / sizeof *modules; i++) {
        lua_pushlightuserdata(L, (void *)(uintptr_t)&modules[i]);
        lua_pushcclosure(L, open_module, 1);
        lua_setfield(L, -2, modules[i].name);
    }
    lua_settop(L, 1);
}

static int run_script(lua_State *L)
{
    load *l = lua_touserdata(L, 1);
    preload(L);
    if (luaL_loadfile(L, l->path) != LUA_OK) {
        return lua_error(L);
    }
    lua_call(L, 0, 1);
    if (!lua_istable(L, -1)) {
        return luaL_error(L, "%s returns a %s, not its storage: a table of functions", l->path,
                          luaL_typename(L, -1));
    }
    if (lua_getfield(L, -1, "threads") != LUA_TNIL) {
        l->threads = lua_tointeger(L, -1);
        if (l->threads < 1) {
            return luaL_error(L, "%s: threads of a storage is an integer from 1 on", l->path);
        }
    }
    lua_pop(L, 1);
    lua_createtable(L, 0, 1);
    lua_insert(L, -2);
    lua_setfield(L, -2, "storage");
    pra__lua_storage_new(L, -1, l->log, &l->storage);
    (void)pra__lua_enter(L); /* for good: this is the main thread of a state that is ours */
    return 0;
}

static int fail(lua_State *L, int status, pra_error *err)
{
    const char *message = lua_tostring(L, -1);
    int code = status == LUA_ERRMEM ? PRA_ERR_NOMEM : PRA_ERR_INVALID_ARG;
    return pra_error_set_cstr(err, code, message ? message : "the storage script failed");
}

static int open_slot(slot *s, load *l, pra_error *err)
{
    s->L = luaL_newstate();
    if (!s->L) {
        return pra_error_set_cstr(err, PRA_ERR_NOMEM, pra_strerror(PRA_ERR_NOMEM));
    }
    lua_pushcfunction(s->L, run_script);
    lua_pushlightuserdata(s->L, l);
    int status = lua_pcall(s->L, 1, 0, 0);
    if (status != LUA_OK) {
        int code = fail(s->L, status, err);
        lua_close(s->L);
        return code;
    }
    s->storage = l->storage;
    return PRA_OK;
}

/* The entries are those of the first state, which all others must have. */
static int adopt(host *h, const pra_storage_vtbl *vtbl, pra_error *err)
{
    if (h->count == 1) {
        h->vtbl = (pra_storage_vtbl){.size = sizeof h->vtbl, .destroy = on_destroy};
        h->vtbl.flags = vtbl->flags;
        h->vtbl.write = vtbl->write ? on_write : NULL;
        h->vtbl.process_query = vtbl->process_query ? on_process_query : NULL;
        h->vtbl.read = vtbl->read ? on_read : NULL;
    } else if (!h->vtbl.write != !vtbl->write || !h->vtbl.read != !vtbl->read ||
               !h->vtbl.process_query != !vtbl->process_query) {
        return pra_error_set_cstr(err, PRA_ERR_INVALID_ARG,
                                  "the script returns another storage when it is run again");
    }
    return PRA_OK;
}

int pra__lua_host_open(const char *path_cstr, uint32_t workers, const pra__lua_log *log,
                       pra_storage *out, pra_error *err)
{
    const pra_alloc *alloc = pra_alloc_libc();
    load l = {.path = path_cstr, .log = log};
    size_t wanted = workers ? workers : 1;
    host *h = alloc->fn(alloc->ctx, NULL, 0, host_size(wanted));
    if (!h) {
        return pra_error_set_cstr(err, PRA_ERR_NOMEM, pra_strerror(PRA_ERR_NOMEM));
    }
    h->room = wanted;
    h->count = 0;
    int code = PRA_OK;
    for (size_t i = 0; i < wanted && code == PRA_OK; i++) {
        code = open_slot(&h->slots[i], &l, err);
        if (code == PRA_OK) {
            h->count++;
            code = adopt(h, l.storage.vtbl, err);
        }
        if (l.threads > 0 && (size_t)l.threads < wanted) {
            wanted = (size_t)l.threads;
        }
    }
    if (code != PRA_OK) {
        on_destroy(h);
        return code;
    }
    *out = (pra_storage){&h->vtbl, h};
    return PRA_OK;
}
