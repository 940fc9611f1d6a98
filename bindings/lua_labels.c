/* SPDX-License-Identifier: Apache-2.0 */
/* Labels: of columns as tables of strings, and those of tables as arrays and keys. */
#include "thunk_lua.h"

#include <stdlib.h>
#include <string.h>

void pra__lua_push_str(lua_State *L, pra_str str)
{
    (void)lua_pushlstring(L, str.len ? str.ptr : "", str.len);
}

void pra__lua_push_span(lua_State *L, const char *base, pra_span span)
{
    (void)lua_pushlstring(L, base + span.off, span.len);
}

void pra__lua_push_label_spans(lua_State *L, const char *base, const pra_label_span *labels,
                               size_t count)
{
    lua_createtable(L, 0, (int)count);
    for (size_t i = 0; i < count; i++) {
        pra__lua_push_span(L, base, labels[i].name);
        pra__lua_push_span(L, base, labels[i].value);
        lua_rawset(L, -3);
    }
}

/* ---- all labels of a request
 *
 * A table keeps the strings that were made: of 2.0 those of all symbols, so that each is made once;
 * of 1.0 those of the series before, whose labels are mostly the same: to compare is quicker than
 * to look a string up. Measured. */

void pra__lua_strings_push(lua_State *L, const pra_columns *columns)
{
    enum { USUAL_LABELS = 16 };
    lua_createtable(L, columns->label_refs ? (int)columns->symbol_count : 2 * USUAL_LABELS, 0);
}

/* What the next label is made of. */
typedef struct source {
    const pra_columns *columns;
    int strings;        /* index of the table */
    size_t at;          /* the label's number */
    size_t before, end; /* likewise those of the series before that are still to be compared */
    lua_Integer slot;   /* where its name was put; the value behind it */
} source;

static void push_kept(lua_State *L, const source *s, lua_Integer slot, pra_span span)
{
    pra__lua_push_span(L, s->columns->base, span);
    lua_pushvalue(L, -1);
    lua_rawseti(L, s->strings, slot);
}

/* Symbol 0 also stands for those that do not exist. */
static void push_symbol(lua_State *L, const source *s, uint32_t symbol, pra_span span)
{
    if (symbol == 0) {
        pra__lua_push_span(L, s->columns->base, span);
    } else if (lua_rawgeti(L, s->strings, (lua_Integer)symbol) == LUA_TNIL) {
        lua_pop(L, 1);
        push_kept(L, s, (lua_Integer)symbol, span);
    }
}

static void push_recent(lua_State *L, const source *s, lua_Integer slot, pra_span span,
                        pra_span before)
{
    const char *base = s->columns->base;
    if (s->before < s->end && span.len == before.len &&
        memcmp(base + span.off, base + before.off, span.len) == 0) {
        (void)lua_rawgeti(L, s->strings, slot);
    } else {
        push_kept(L, s, slot, span);
    }
}

/* Pushes name and value of the next label. */
static void push_label(lua_State *L, source *s)
{
    const pra_columns *c = s->columns;
    const pra_label_span *label = &c->labels[s->at];
    if (c->label_refs) {
        push_symbol(L, s, c->label_refs[s->at].name, label->name);
        push_symbol(L, s, c->label_refs[s->at].value, label->value);
    } else {
        const pra_label_span *before = s->before < s->end ? &c->labels[s->before] : label;
        push_recent(L, s, s->slot, label->name, before->name);
        push_recent(L, s, s->slot + 1, label->value, before->value);
        s->before++;
        s->slot += 2;
    }
    s->at++;
}

/* follows: the table of strings was last used for the series before, as a whole. */
static source source_of(const pra_columns *columns, size_t series, int strings, int follows)
{
    const size_t at = columns->label_offsets[series];
    const size_t before = follows && series > 0 ? columns->label_offsets[series - 1] : at;
    return (source){columns, strings, at, before, at, 1};
}

void pra__lua_labels_push(lua_State *L, const pra_columns *columns, size_t series, int strings,
                          int follows)
{
    source s = source_of(columns, series, strings, follows);
    const size_t end = columns->label_offsets[series + 1];
    lua_createtable(L, 0, (int)(end - s.at));
    while (s.at < end) {
        push_label(L, &s);
        lua_rawset(L, -3);
    }
}

/* Upvalues of the iterators: out of a script's reach. */
enum { UP_REQUEST = 1, UP_STRINGS, UP_CURSOR };

/* Userdata, which is quicker to come by than upvalues that are numbers. */
typedef struct cursor {
    pra__lua_request *request; /* UP_REQUEST */
    size_t series, label;      /* that are next */
} cursor;

static int push_iterator(lua_State *L, lua_CFunction next)
{
    const pra_columns *columns = pra__lua_request_columns(L, 1);
    lua_settop(L, 1);
    pra__lua_strings_push(L, columns);
    cursor *at = lua_newuserdatauv(L, sizeof *at, 0);
    *at = (cursor){.request = lua_touserdata(L, 1)};
    lua_pushcclosure(L, next, UP_CURSOR);
    return 1;
}

static int next_labels(lua_State *L)
{
    cursor *at = lua_touserdata(L, lua_upvalueindex(UP_CURSOR));
    const pra_columns *columns = pra__lua_request_now(L, at->request);
    if (at->series >= columns->series_count) {
        return 0;
    }
    lua_pushinteger(L, (lua_Integer)at->series + 1);
    pra__lua_labels_push(L, columns, at->series, lua_upvalueindex(UP_STRINGS), 1);
    at->series++; /* not if that failed: the strings are not all there */
    return 2;
}

/* for number, labels in request:labels() do */
int pra__lua_request_labels(lua_State *L)
{
    return push_iterator(L, next_labels);
}

static int next_label(lua_State *L)
{
    cursor *at = lua_touserdata(L, lua_upvalueindex(UP_CURSOR));
    const pra_columns *columns = pra__lua_request_now(L, at->request);
    if (at->label >= columns->label_count) {
        return 0;
    }
    while (at->label >= columns->label_offsets[at->series + 1]) {
        at->series++;
    }
    source s = source_of(columns, at->series, lua_upvalueindex(UP_STRINGS), 1);
    const size_t passed = at->label - s.at;
    s.at += passed;
    s.before += passed;
    s.slot += 2 * (lua_Integer)passed;
    lua_pushinteger(L, (lua_Integer)at->series + 1);
    push_label(L, &s);
    at->label++;
    return 3;
}

/* for number, name, value in request:each_label() do */
int pra__lua_request_each_label(lua_State *L)
{
    return push_iterator(L, next_label);
}

/* ---- the sum of a series' labels */

void pra__lua_push_fingerprint(lua_State *L, const pra_columns *columns, size_t series)
{
    static const char digits[] = "0123456789abcdef";
    const uint32_t first = columns->label_offsets[series];
    uint64_t sum = pra_labels_fingerprint(columns->base, columns->labels + first,
                                          columns->label_offsets[series + 1] - first);
    char text[16];
    for (size_t i = sizeof text; i-- > 0; sum >>= 4) {
        text[i] = digits[sum & 15];
    }
    (void)lua_pushlstring(L, text, sizeof text);
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
void pra__lua_labels_sort(pra_label *labels, size_t count)
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
    pra__lua_labels_sort(labels, count);
    char *end = prefix.len ? put(key, prefix) : key;
    for (size_t i = 0; i < count; i++) {
        end = put(put(end, labels[i].name), labels[i].value);
    }
    (void)lua_pushlstring(L, key, size);
    return 1;
}
