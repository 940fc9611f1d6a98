/* SPDX-License-Identifier: Apache-2.0 */
/* What a storage function is handed: context, query, sink. They are good for one callback;
 * what a script reads from them is its own to keep. */
#include "thunk_lua.h"

#include <string.h>

void pra__lua_view_push(lua_State *L, const char *type, const void *object, pra__lua_views *list)
{
    pra__lua_view *view = lua_newuserdatauv(L, sizeof *view, 0);
    *view = (pra__lua_view){.object = object, .integers = list->integers, .next = list->first};
    luaL_setmetatable(L, type);
    list->first = view;
}

void pra__lua_views_end(pra__lua_views *list)
{
    for (pra__lua_view *view = list->first; view; view = view->next) {
        if (view->end) {
            view->end(view);
        }
        view->object = NULL;
        view->output = NULL;
    }
    list->first = NULL;
}

void pra__lua_view_over(lua_State *L, const char *type)
{
    (void)luaL_error(L, "this %s is over: it can be used until the storage function returns", type);
}

pra__lua_view *pra__lua_view_check(lua_State *L, int index, const char *type)
{
    pra__lua_view *view = luaL_checkudata(L, index, type);
    if (!view->object) {
        pra__lua_view_over(L, type);
    }
    return view;
}

int pra__lua_view_index(lua_State *L)
{
    lua_settop(L, 2);
    lua_pushvalue(L, 2);
    if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL) {
        return 1;
    }
    lua_pushvalue(L, 2);
    if (lua_rawget(L, lua_upvalueindex(2)) != LUA_TNIL) {
        lua_pushvalue(L, 1);
        lua_call(L, 1, 1);
    }
    return 1;
}

void pra__lua_class_register(lua_State *L, const char *type, lua_CFunction index,
                             const luaL_Reg *methods, const luaL_Reg *getters, const luaL_Reg *meta)
{
    lua_newtable(L);
    luaL_setfuncs(L, methods, 0);
    (void)luaL_newmetatable(L, type);
    luaL_setfuncs(L, meta, 0);
    lua_pushvalue(L, -2);
    lua_newtable(L);
    luaL_setfuncs(L, getters, 0);
    lua_pushcclosure(L, index, 2);
    lua_setfield(L, -2, "__index");
    lua_pushliteral(L, "locked");
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
}

/* ---- integers */

int pra__lua_integers(lua_State *L, int index)
{
    if (lua_isnoneornil(L, index)) {
        return PRA__LUA_EXACT;
    }
    const char *text = lua_type(L, index) == LUA_TSTRING ? lua_tostring(L, index) : "";
    if (strcmp(text, "string") != 0) {
        (void)luaL_error(L, "integers is \"string\" or nil (or, in LuaJIT with libpra.so, "
                            "\"cdata\")");
    }
    return PRA__LUA_TEXT;
}

void pra__lua_push_integer(lua_State *L, int64_t value, int integers)
{
    if (integers == PRA__LUA_TEXT) {
        pra__lua_push_int64_text(L, value);
    } else {
        pra__lua_push_int64(L, value);
    }
}

void pra__lua_push_unsigned(lua_State *L, uint64_t value, int integers)
{
    if (integers == PRA__LUA_TEXT) {
        pra__lua_push_uint64_text(L, value);
    } else {
        pra__lua_push_uint64(L, value);
    }
}

/* ---- context */

static const pra_context *check_context(lua_State *L)
{
    return pra__lua_view_check(L, 1, PRA__LUA_CONTEXT)->object;
}

static int context_text(lua_State *L, void (*get)(const pra_context *, pra_str *))
{
    pra_str value;
    get(check_context(L), &value);
    pra__lua_push_str(L, value);
    return 1;
}

static int context_tenant(lua_State *L)
{
    return context_text(L, pra_context_tenant);
}

static int context_path(lua_State *L)
{
    return context_text(L, pra_context_path);
}

static int context_query_string(lua_State *L)
{
    return context_text(L, pra_context_query_string);
}

static int context_remote_addr(lua_State *L)
{
    return context_text(L, pra_context_remote_addr);
}

static int context_user(lua_State *L)
{
    return context_text(L, pra_context_user);
}

static int context_worker(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)pra_context_worker(check_context(L)));
    return 1;
}

/* All headers: names in lower case; of repeated names the first. */
static int context_headers(lua_State *L)
{
    const pra_header *headers;
    size_t count = pra_context_headers(check_context(L), &headers);
    lua_createtable(L, 0, (int)count);
    for (size_t i = count; i-- > 0;) {
        luaL_Buffer name;
        luaL_buffinit(L, &name);
        for (size_t k = 0; k < headers[i].name.len; k++) {
            char c = headers[i].name.ptr[k];
            luaL_addchar(&name, c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c);
        }
        luaL_pushresult(&name);
        pra__lua_push_str(L, headers[i].value);
        lua_rawset(L, -3);
    }
    return 1;
}

/* ctx:header(name): nil if the request has none of that name. */
static int context_header(lua_State *L)
{
    const pra_context *ctx = check_context(L);
    pra_str name, value;
    name.ptr = luaL_checklstring(L, 2, &name.len);
    if (!pra_context_header(ctx, name, &value)) {
        return 0;
    }
    pra__lua_push_str(L, value);
    return 1;
}

/* ---- query */

static const pra_query *check_query(lua_State *L)
{
    return pra__lua_view_check(L, 1, PRA__LUA_QUERY)->object;
}

static int push_time(lua_State *L, int64_t value)
{
    pra__lua_push_integer(L, value, pra__lua_view_check(L, 1, PRA__LUA_QUERY)->integers);
    return 1;
}

static int query_start_ms(lua_State *L)
{
    return push_time(L, pra_query_start_ms(check_query(L)));
}

static int query_end_ms(lua_State *L)
{
    return push_time(L, pra_query_end_ms(check_query(L)));
}

/* Adds field set, where the matcher stands for a set of values. */
static void set_matcher_set(lua_State *L, const pra_matcher *matcher)
{
    const pra_str *values;
    size_t count = pra_matcher_set(matcher, &values);
    if (count == 0) {
        return;
    }
    lua_createtable(L, (int)count, 0);
    for (size_t i = 0; i < count; i++) {
        pra__lua_push_str(L, values[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_setfield(L, -2, "set");
}

static void push_matcher(lua_State *L, const pra_matcher *matcher)
{
    static const char *const types[] = {"=", "!=", "=~", "!~"};
    pra_str text;
    lua_createtable(L, 0, 5);
    (void)lua_pushstring(L, types[pra_matcher_type(matcher) & 3]);
    lua_setfield(L, -2, "type");
    pra_matcher_name(matcher, &text);
    pra__lua_push_str(L, text);
    lua_setfield(L, -2, "name");
    pra_matcher_value(matcher, &text);
    pra__lua_push_str(L, text);
    lua_setfield(L, -2, "value");
    set_matcher_set(L, matcher);
    if (pra_matcher_prefix(matcher, &text)) {
        pra__lua_push_str(L, text);
        lua_setfield(L, -2, "prefix");
    }
}

/* A list of {type, name, value, set, prefix}. */
static int query_matchers(lua_State *L)
{
    const pra_query *query = check_query(L);
    size_t count = pra_query_matcher_count(query);
    lua_createtable(L, (int)count, 0);
    for (size_t i = 0; i < count; i++) {
        push_matcher(L, pra_query_matcher(query, i));
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

static void set_time(lua_State *L, const char *name, int64_t value)
{
    (void)push_time(L, value);
    lua_setfield(L, -2, name);
}

/* {func, start_ms, end_ms, step_ms, range_ms, by, grouping}, or nil. */
static int query_hints(lua_State *L)
{
    pra_read_hints hints = {.size = sizeof hints};
    if (pra_query_hints(check_query(L), &hints) != PRA_OK || !hints.present) {
        return 0;
    }
    lua_createtable(L, 0, 7);
    pra__lua_push_str(L, hints.func);
    lua_setfield(L, -2, "func");
    set_time(L, "start_ms", hints.start_ms);
    set_time(L, "end_ms", hints.end_ms);
    set_time(L, "step_ms", hints.step_ms);
    set_time(L, "range_ms", hints.range_ms);
    lua_pushboolean(L, hints.by);
    lua_setfield(L, -2, "by");
    lua_createtable(L, (int)hints.grouping_count, 0);
    for (size_t i = 0; i < hints.grouping_count; i++) {
        pra__lua_push_str(L, hints.grouping[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_setfield(L, -2, "grouping");
    return 1;
}

/* Puts into out those of the labels at index 2 that the query asks about, and leaves their values
 * on the stack, so that no finalizer can take them away. */
static size_t collect_asked(lua_State *L, const pra_query *query, size_t matchers, pra_label *out)
{
    size_t count = 0;
    for (size_t i = 0; i < matchers; i++) {
        pra_label *label = &out[count];
        pra_matcher_name(pra_query_matcher(query, i), &label->name);
        pra__lua_push_str(L, label->name);
        if (lua_rawget(L, 2) == LUA_TSTRING) {
            label->value.ptr = lua_tolstring(L, -1, &label->value.len);
            count++;
        } else if (!lua_isnil(L, -1)) {
            (void)luaL_error(L, "the value of label '%s' is a %s, not a string", label->name.ptr,
                             luaL_typename(L, -1));
        }
    }
    return count;
}

/* query:matches(labels): with Prometheus' own rules. */
static int query_matches(lua_State *L)
{
    pra_label few[PRA__LUA_SMALL];
    const pra_query *query = check_query(L);
    size_t matchers = pra_query_matcher_count(query);
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_settop(L, 2);
    pra_label *asked = pra__lua_labels_room(L, matchers, few);
    luaL_checkstack(L, (int)matchers + 2, "too many matchers");
    size_t count = collect_asked(L, query, matchers, asked);
    int code = pra_query_matches(query, asked, count);
    if (code < 0) { /* no answer is not "no": series would be missing */
        return luaL_error(L, "%s",
                          code == PRA_ERR_NOMEM ? "not enough memory" : pra_strerror(code));
    }
    lua_pushboolean(L, code);
    return 1;
}

/* ---- all of them */

void pra__lua_views_register(lua_State *L)
{
    static const luaL_Reg none[] = {{NULL, NULL}};
    static const luaL_Reg context_methods[] = {{"header", context_header}, {NULL, NULL}};
    static const luaL_Reg context_getters[] = {{"tenant", context_tenant},
                                               {"path", context_path},
                                               {"query_string", context_query_string},
                                               {"remote_addr", context_remote_addr},
                                               {"user", context_user},
                                               {"worker", context_worker},
                                               {"headers", context_headers},
                                               {NULL, NULL}};
    static const luaL_Reg query_methods[] = {{"matches", query_matches}, {NULL, NULL}};
    static const luaL_Reg query_getters[] = {{"start_ms", query_start_ms},
                                             {"end_ms", query_end_ms},
                                             {"matchers", query_matchers},
                                             {"hints", query_hints},
                                             {NULL, NULL}};
    static const luaL_Reg sink_methods[] = {{"add", pra__lua_sink_add_method}, {NULL, NULL}};
    const lua_CFunction index = pra__lua_view_index;
    pra__lua_class_register(L, PRA__LUA_CONTEXT, index, context_methods, context_getters, none);
    pra__lua_class_register(L, PRA__LUA_QUERY, index, query_methods, query_getters, none);
    pra__lua_class_register(L, PRA__LUA_SINK, index, sink_methods, none, none);
    lua_pop(L, 3);
}
