/* SPDX-License-Identifier: Apache-2.0 */
/* Columns become plain tables, and sets of labels become arrays and keys. */
#include "thunk_lua.h"

#include <stdlib.h>
#include <string.h>

void pra__lua_push_str(lua_State *L, pra_str str)
{
    (void)lua_pushlstring(L, str.len ? str.ptr : "", str.len);
}

/* ---- one series */

/* Upvalues of the iterator. */
enum { UP_REQUEST = 1, UP_NEXT, UP_LABELS, UP_TIMESTAMPS, UP_VALUES, UP_END };

static void push_span(lua_State *L, const char *base, pra_span span)
{
    pra__lua_push_str(L, (pra_str){base + span.off, span.len});
}

/* Lua's own table of short strings is as fast as a cache by value before it: measured. */
static void push_labels(lua_State *L, const char *base, const pra_label_span *labels, size_t count)
{
    lua_createtable(L, 0, (int)count);
    for (size_t i = 0; i < count; i++) {
        push_span(L, base, labels[i].name);
        push_span(L, base, labels[i].value);
        lua_rawset(L, -3);
    }
}

void pra__lua_push_integers(lua_State *L, const int64_t *items, size_t count)
{
    lua_createtable(L, (int)count, 0);
    for (size_t i = 0; i < count; i++) {
        pra__lua_push_int64(L, items[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
}

void pra__lua_push_numbers(lua_State *L, const double *items, size_t count)
{
    lua_createtable(L, (int)count, 0);
    for (size_t i = 0; i < count; i++) {
        lua_pushnumber(L, items[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
}

/* Adds field exemplars: a list of {labels, timestamp, value}. */
static void set_exemplars(lua_State *L, const pra_columns *columns, pra_range range)
{
    lua_createtable(L, (int)range.count, 0);
    for (uint32_t i = 0; i < range.count; i++) {
        uint32_t number = range.start + i;
        uint32_t first = columns->exemplar_label_offsets[number];
        lua_createtable(L, 0, 3);
        push_labels(L, columns->base, columns->exemplar_labels + first,
                    columns->exemplar_label_offsets[number + 1] - first);
        lua_setfield(L, -2, "labels");
        pra__lua_push_int64(L, columns->exemplar_timestamps_ms[number]);
        lua_setfield(L, -2, "timestamp");
        lua_pushnumber(L, columns->exemplar_values[number]);
        lua_setfield(L, -2, "value");
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_setfield(L, -2, "exemplars");
}

static void set_histograms(lua_State *L, const pra_columns *columns, const pra_series *series)
{
    lua_createtable(L, (int)series->histogram_count, 0);
    for (size_t i = 0; i < series->histogram_count; i++) {
        pra__lua_histogram_push(L, columns, &series->histograms[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_setfield(L, -2, "histograms");
}

/* ---- the iterator */

static void push_series(lua_State *L, const pra_columns *columns, const pra_series *series)
{
    lua_createtable(L, 0, 4);
    lua_pushvalue(L, lua_upvalueindex(UP_LABELS));
    push_labels(L, series->base, series->labels, series->label_count);
    lua_rawset(L, -3);
    lua_pushvalue(L, lua_upvalueindex(UP_TIMESTAMPS));
    pra__lua_push_integers(L, series->timestamps_ms, series->sample_count);
    lua_rawset(L, -3);
    lua_pushvalue(L, lua_upvalueindex(UP_VALUES));
    pra__lua_push_numbers(L, series->values, series->sample_count);
    lua_rawset(L, -3);
    if (series->start_timestamps_ms && series->sample_count > 0) {
        pra__lua_push_integers(L, series->start_timestamps_ms, series->sample_count);
        lua_setfield(L, -2, "start_timestamps");
    }
    if (series->exemplars.count > 0) {
        set_exemplars(L, columns, series->exemplars);
    }
    if (series->histogram_count > 0) {
        set_histograms(L, columns, series);
    }
}

static int next_series(lua_State *L)
{
    lua_settop(L, 0);
    lua_pushvalue(L, lua_upvalueindex(UP_REQUEST));
    const pra__lua_view *view = pra__lua_view_check(L, 1, PRA__LUA_REQUEST);
    lua_Integer next = lua_tointeger(L, lua_upvalueindex(UP_NEXT));
    pra_columns columns = {.size = sizeof columns};
    pra_series series = {.size = sizeof series};
    if (pra_write_request_columns(view->object, &columns) != PRA_OK ||
        pra_columns_series(&columns, (size_t)next, &series) != PRA_OK) {
        return 0;
    }
    push_series(L, &columns, &series);
    lua_pushinteger(L, next + 1);
    lua_pushvalue(L, -1);
    lua_replace(L, lua_upvalueindex(UP_NEXT));
    return 2;
}

/* for series, number in request:series() do */
int pra__lua_request_series(lua_State *L)
{
    (void)pra__lua_view_check(L, 1, PRA__LUA_REQUEST);
    lua_settop(L, 1);
    lua_pushinteger(L, 0);
    lua_pushliteral(L, "labels");
    lua_pushliteral(L, "timestamps");
    lua_pushliteral(L, "values");
    lua_pushcclosure(L, next_series, UP_END - 1);
    return 1;
}

/* ---- labels in tables */

pra_label *pra__lua_labels_room(lua_State *L, size_t count, pra_label *few)
{
    if (count <= PRA__LUA_SMALL) {
        lua_pushnil(L);
        return few;
    }
    return lua_newuserdatauv(L, count * sizeof *few, 0);
}

size_t pra__lua_labels_count(lua_State *L, int index)
{
    size_t count = 0;
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
        count++;
    }
    return count;
}

size_t pra__lua_labels_fill(lua_State *L, int index, pra_label *out, size_t room)
{
    size_t count = 0;
    lua_pushnil(L);
    while (lua_next(L, index)) {
        if (count == room) {
            lua_pop(L, 2);
            break;
        }
        if (lua_type(L, -2) != LUA_TSTRING || lua_type(L, -1) != LUA_TSTRING) {
            (void)luaL_error(L, "labels hold a %s with a %s, not strings by strings",
                             luaL_typename(L, -2), luaL_typename(L, -1));
        }
        out[count].name.ptr = lua_tolstring(L, -2, &out[count].name.len);
        out[count].value.ptr = lua_tolstring(L, -1, &out[count].value.len);
        count++;
        lua_pop(L, 1);
    }
    return count;
}

static int by_name(const void *a, const void *b)
{
    const pra_str *x = &((const pra_label *)a)->name, *y = &((const pra_label *)b)->name;
    size_t common = x->len < y->len ? x->len : y->len;
    int order = memcmp(x->ptr, y->ptr, common);
    return order ? order : (x->len > y->len) - (x->len < y->len);
}

/* Labels come few and nearly sorted. */
static void sort_labels(pra_label *labels, size_t count)
{
    if (count > PRA__LUA_SMALL) {
        qsort(labels, count, sizeof *labels, by_name);
        return;
    }
    for (size_t i = 1; i < count; i++) {
        pra_label label = labels[i];
        size_t at = i;
        for (; at > 0 && by_name(&labels[at - 1], &label) > 0; at--) {
            labels[at] = labels[at - 1];
        }
        labels[at] = label;
    }
}

static size_t key_size(pra_str prefix, const pra_label *labels, size_t count)
{
    size_t size = prefix.len ? prefix.len + 1 : 0;
    for (size_t i = 0; i < count; i++) {
        size += labels[i].name.len + labels[i].value.len + 2;
    }
    return size;
}

static char *put(char *to, pra_str str)
{
    memcpy(to, str.ptr, str.len);
    to[str.len] = '\xff';
    return to + str.len + 1;
}

/* prefix 0xFF name 0xFF value 0xFF ..., sorted by name; a text in UTF-8 holds no 0xFF. */
int pra__lua_key(lua_State *L)
{
    enum { SHORT_KEY = 512 };
    pra_label few[PRA__LUA_SMALL];
    char small[SHORT_KEY];
    pra_str prefix;
    luaL_checktype(L, 1, LUA_TTABLE);
    prefix.ptr = luaL_optlstring(L, 2, "", &prefix.len);
    size_t room = pra__lua_labels_count(L, 1);
    pra_label *labels = pra__lua_labels_room(L, room, few);
    size_t count = pra__lua_labels_fill(L, 1, labels, room);
    size_t size = key_size(prefix, labels, count);
    char *key = small;
    if (size > SHORT_KEY) {
        key = lua_newuserdatauv(L, size, 0);
        count = pra__lua_labels_fill(L, 1, labels, room); /* a finalizer may have run */
        if (key_size(prefix, labels, count) != size) {
            return luaL_error(L, "the labels were changed by a finalizer");
        }
    }
    sort_labels(labels, count);
    char *end = prefix.len ? put(key, prefix) : key;
    for (size_t i = 0; i < count; i++) {
        end = put(put(end, labels[i].name), labels[i].value);
    }
    (void)lua_pushlstring(L, key, size);
    return 1;
}
