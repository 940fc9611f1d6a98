/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that a script builds: series by series, or from another request as a whole. */
#include "thunk_lua.h"

#include <string.h>

/* ---- one series of a script's own
 *
 * It is put together in a request beside the one it is for, which so never has half a series. */

static int add_samples(lua_State *L, int series, pra_write_request *to)
{
    int64_t timestamps[PRA__LUA_PIECE], starts[PRA__LUA_PIECE];
    double values[PRA__LUA_PIECE];
    pra__lua_samples samples;
    int code = PRA_OK;
    const int has_starts = pra__lua_samples_open(L, series, &samples);
    for (size_t done = 0; done < samples.count && code == PRA_OK; done += PRA__LUA_PIECE) {
        size_t left = samples.count - done;
        size_t n = left < PRA__LUA_PIECE ? left : PRA__LUA_PIECE;
        const int64_t *t = pra__lua_list_integers(L, &samples.timestamps, done, n, timestamps);
        const double *v = pra__lua_list_numbers(L, &samples.values, done, n, values);
        const int64_t *s =
            has_starts ? pra__lua_list_integers(L, &samples.starts, done, n, starts) : NULL;
        code = pra_write_request_add_samples(to, t, v, s, n);
    }
    return code;
}

/* Pushes the list of that name, or nil. */
static int push_list(lua_State *L, int series, const char *name)
{
    const int type = lua_getfield(L, series, name);
    if (type != LUA_TNIL && type != LUA_TTABLE) {
        (void)luaL_error(L, "field %s of a series is a %s, not a table", name,
                         luaL_typename(L, -1));
    }
    return type == LUA_TTABLE;
}

static int add_histograms(lua_State *L, int series, pra_write_request *to)
{
    pra__lua_histogram histogram;
    int code = PRA_OK;
    if (!push_list(L, series, "histograms")) {
        return code;
    }
    const int list = lua_gettop(L);
    for (lua_Integer i = 1; code == PRA_OK && lua_rawgeti(L, list, i) != LUA_TNIL; i++) {
        pra__lua_histogram_fill(L, list + 1, &histogram);
        code = pra_write_request_add_histogram(to, &histogram.columns, 0);
        lua_settop(L, list);
    }
    return code;
}

static int add_exemplar(lua_State *L, int exemplar, pra_write_request *to)
{
    pra_label few[PRA__LUA_SMALL];
    size_t count;
    int64_t timestamp_ms = 0;
    int is_number;
    if (!lua_istable(L, exemplar)) {
        (void)luaL_error(L, "an exemplar is a table, not a %s", luaL_typename(L, exemplar));
    }
    (void)lua_getfield(L, exemplar, "timestamp");
    (void)lua_getfield(L, exemplar, "value");
    (void)lua_getfield(L, exemplar, "labels");
    const double value = lua_tonumberx(L, exemplar + 2, &is_number);
    if (!pra__lua_to_int64(L, exemplar + 1, &timestamp_ms) || !is_number) {
        (void)luaL_error(L, "an exemplar has no %s", is_number ? "timestamp" : "value");
    }
    const pra_label *labels = pra__lua_labels_get(L, exemplar + 3, few, &count);
    return pra_write_request_add_exemplar(to, labels, count, timestamp_ms, value);
}

static int add_exemplars(lua_State *L, int series, pra_write_request *to)
{
    int code = PRA_OK;
    if (!push_list(L, series, "exemplars")) {
        return code;
    }
    const int list = lua_gettop(L);
    for (lua_Integer i = 1; code == PRA_OK && lua_rawgeti(L, list, i) != LUA_TNIL; i++) {
        code = add_exemplar(L, list + 1, to);
        lua_settop(L, list);
    }
    return code;
}

/* labels: index of their table. */
static int fill_scratch(lua_State *L, pra__lua_request *r, int series, int labels)
{
    pra_label few[PRA__LUA_SMALL];
    size_t count;
    int code = r->scratch ? PRA_OK : pra_write_request_new(NULL, &r->scratch);
    if (code != PRA_OK) {
        return code;
    }
    pra_write_request_reset(r->scratch);
    const size_t fill = ++r->fills;
    const pra_label *sorted = pra__lua_labels_get(L, labels, few, &count);
    code = pra_write_request_add_series(r->scratch, sorted, count);
    if (code == PRA_OK) {
        code = add_samples(L, series, r->scratch);
    }
    if (code == PRA_OK) {
        code = add_histograms(L, series, r->scratch);
    }
    if (code == PRA_OK) {
        code = add_exemplars(L, series, r->scratch);
    }
    if (r->fills != fill) { /* a metamethod did that */
        (void)luaL_error(L, "the request was added to while a series for it was read");
    }
    return code;
}

static int add_plain(lua_State *L, pra__lua_request *r, int series, int labels)
{
    pra_columns columns = {.size = sizeof columns};
    luaL_checkstack(L, LUA_MINSTACK, NULL);
    if (!lua_istable(L, series)) {
        (void)luaL_error(L, "a series is a table {labels, timestamps, values}, not a %s",
                         luaL_typename(L, series));
    }
    int code = fill_scratch(L, r, series, labels);
    if (code == PRA_OK) {
        code = pra_write_request_columns(r->scratch, &columns);
    }
    return code == PRA_OK ? pra_write_request_add_copy(r->built, &columns, 0, NULL, 0) : code;
}

/* The columns of from, without metadata that stand alone before or behind those of series: in a
 * message of 1.0 they all do, and none of them is to be looked at for each series. */
static pra_columns columns_to_copy(pra__lua_request *from)
{
    pra_columns c = from->columns;
    for (; from->seen < c.metadata_count; from->seen++) {
        if (c.metadata[from->seen].series != UINT32_MAX) {
            from->own_first = from->own_end ? from->own_first : from->seen;
            from->own_end = from->seen + 1;
        }
    }
    c.metadata_count = from->own_end - from->own_first;
    c.metadata = c.metadata_count ? c.metadata + from->own_first : NULL;
    return c;
}

/* labels: 0, or index of the table that is used instead of the series' own. */
static int add_whole(lua_State *L, pra__lua_request *r, pra__lua_request *from, size_t index,
                     int labels)
{
    pra_label few[PRA__LUA_SMALL];
    size_t count = 0;
    const pra_label *sorted = labels ? pra__lua_labels_get(L, labels, few, &count) : NULL;
    const pra_columns own = columns_to_copy(from), *columns = &own;
    pra_columns copied = {.size = sizeof copied};
    int code = PRA_OK;
    if (from->kept == r->kept) { /* a handle does not copy from itself */
        code = r->scratch ? PRA_OK : pra_write_request_new(NULL, &r->scratch);
        r->fills++;
        if (code == PRA_OK) {
            pra_write_request_reset(r->scratch);
            code = pra_write_request_add_copy(r->scratch, columns, index, NULL, 0);
        }
        if (code == PRA_OK) {
            code = pra_write_request_columns(r->scratch, &copied);
        }
        columns = &copied;
        index = 0;
    }
    return code == PRA_OK ? pra_write_request_add_copy(r->built, columns, index, sorted, count)
                          : code;
}

static int check_built(lua_State *L, const pra__lua_request *r)
{
    static const char message[] = "only a request that pra.request made can be added to";
    pra_error err = {0};
    if (r->built) {
        return 0;
    }
    (void)pra_error_set_cstr(&err, PRA_ERR_STATE, message);
    return pra__lua_fail(L, PRA_ERR_STATE, &err);
}

static int result_of(lua_State *L, pra__lua_request *r, int code)
{
    pra_error err = {0};
    if (code == PRA_OK) {
        pra__lua_request_filled(L, r);
        lua_pushboolean(L, 1);
        return 1;
    }
    if (code == PRA_ERR_BUSY) {
        (void)pra_error_set_cstr(&err, code,
                                 "a request of which there are copies cannot be "
                                 "added to");
    }
    return pra__lua_fail(L, code, &err);
}

/* add(self, series [, labels]) */
static int request_add(lua_State *L)
{
    enum { SELF = 1, SERIES, LABELS };
    pra__lua_request *from, *r = pra__lua_request_check(L, SELF);
    size_t index;
    luaL_checkany(L, SERIES);
    lua_settop(L, LABELS);
    int failed = check_built(L, r), labels = LABELS;
    if (failed) {
        return failed;
    }
    const int whole = pra__lua_series_whole(L, SERIES, &from, &index);
    if (lua_isnil(L, LABELS)) { /* what a script had of it is its own to change */
        lua_pushliteral(L, "labels");
        if (!whole) {
            luaL_checktype(L, SERIES, LUA_TTABLE);
            (void)lua_gettable(L, SERIES);
        } else if (lua_rawget(L, SERIES) == LUA_TNIL) {
            labels = 0;
        }
        lua_replace(L, LABELS);
    }
    return result_of(
        L, r, whole ? add_whole(L, r, from, index, labels) : add_plain(L, r, SERIES, labels));
}

static pra_str text_field(lua_State *L, const char *name)
{
    pra_str text = {"", 0};
    const int type = lua_getfield(L, 2, name);
    if (type == LUA_TSTRING) {
        text.ptr = lua_tolstring(L, -1, &text.len);
    } else if (type != LUA_TNIL) {
        (void)luaL_error(L, "field %s of metadata is a %s, not a string", name,
                         luaL_typename(L, -1));
    }
    return text;
}

/* add_metadata(self, entry) */
static int request_add_metadata(lua_State *L)
{
    pra__lua_request *r = pra__lua_request_check(L, 1);
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_settop(L, 2);
    int failed = check_built(L, r);
    if (failed) {
        return failed;
    }
    const pra_str name = text_field(L, "type");
    const int32_t type = name.len ? pra__lua_metric_type(name.ptr) : PRA_METRIC_UNKNOWN;
    if (type < 0) {
        return luaL_error(L, "no such type of metrics: %s", name.ptr);
    }
    const pra_str family = text_field(L, "family");
    const pra_str help = text_field(L, "help"), unit = text_field(L, "unit");
    return result_of(L, r, pra_write_request_add_metadata(r->built, type, family, help, unit));
}

/* ---- rules */

typedef struct relabel {
    pra_relabel *rules;
    pra_arena *arena; /* for one call of labels */
    int busy;         /* in one, or it failed */
} relabel;

static int relabel_gc(lua_State *L)
{
    relabel *r = luaL_checkudata(L, 1, PRA__LUA_RELABEL);
    const relabel held = *r;
    *r = (relabel){NULL, NULL, 1};
    pra_relabel_free(held.rules);
    pra_arena_free(held.arena);
    return 0;
}

static relabel *check_relabel(lua_State *L, int index)
{
    relabel *r = luaL_checkudata(L, index, PRA__LUA_RELABEL);
    luaL_argcheck(L, r->rules, index, "it was collected");
    return r;
}

/* What rules point to: strings, kept in the table at index anchor. */
typedef struct parsing {
    int anchor;
    lua_Integer kept;
    lua_Integer number; /* of the rule */
} parsing;

/* The string on top of the stack, which it pops. */
static pra_str keep_text(lua_State *L, parsing *p, const char *key)
{
    pra_str text;
    if (lua_type(L, -1) != LUA_TSTRING) {
        (void)luaL_error(L, "rule %d: %s is a %s, not a string", (int)p->number, key,
                         luaL_typename(L, -1));
    }
    text.ptr = lua_tolstring(L, -1, &text.len);
    lua_rawseti(L, p->anchor, ++p->kept);
    return text;
}

/* Of the list on top of the stack, which it pops. */
static void take_sources(lua_State *L, parsing *p, pra_relabel_rule *rule)
{
    if (!lua_istable(L, -1)) {
        (void)luaL_error(L, "rule %d: source_labels is a %s, not a list", (int)p->number,
                         luaL_typename(L, -1));
    }
    const int list = lua_gettop(L);
    const size_t count = lua_rawlen(L, list);
    pra_str *names = lua_newuserdatauv(L, count * sizeof *names + 1, 0);
    lua_rawseti(L, p->anchor, ++p->kept);
    for (size_t i = 0; i < count; i++) {
        (void)lua_rawgeti(L, list, (lua_Integer)i + 1);
        names[i] = keep_text(L, p, "a source label");
    }
    rule->source_labels = names;
    rule->source_label_count = count;
    lua_pop(L, 1);
}

static int take_action(lua_State *L, parsing *p, pra_relabel_rule *rule)
{
    const pra_str name = keep_text(L, p, "action");
    rule->action = pra_relabel_action(name);
    return rule->action < 0;
}

static void take_modulus(lua_State *L, const parsing *p, pra_relabel_rule *rule)
{
    if (!pra__lua_to_uint64(L, -1, &rule->modulus)) {
        (void)luaL_error(L, "rule %d: modulus is no integer", (int)p->number);
    }
    lua_pop(L, 1);
}

/* The value on top of the stack, which it pops, of a key. 1 if it names no action. */
static int take_field(lua_State *L, parsing *p, const char *key, pra_relabel_rule *rule)
{
    if (strcmp(key, "source_labels") == 0) {
        take_sources(L, p, rule);
    } else if (strcmp(key, "separator") == 0) {
        rule->separator = keep_text(L, p, key);
    } else if (strcmp(key, "regex") == 0) {
        rule->regex = keep_text(L, p, key);
    } else if (strcmp(key, "target_label") == 0) {
        rule->target_label = keep_text(L, p, key);
    } else if (strcmp(key, "replacement") == 0) {
        rule->replacement = keep_text(L, p, key);
    } else if (strcmp(key, "modulus") == 0) {
        take_modulus(L, p, rule);
    } else if (strcmp(key, "action") == 0) {
        return take_action(L, p, rule);
    } else {
        (void)luaL_error(L, "rule %d has no field %s", (int)p->number, key);
    }
    return 0;
}

/* The rule on top of the stack. 1 if it names no action. */
static int take_rule(lua_State *L, parsing *p, pra_relabel_rule *rule)
{
    int wrong = 0;
    const int table = lua_gettop(L);
    if (!lua_istable(L, table)) {
        (void)luaL_error(L, "rule %d is a %s, not a table", (int)p->number,
                         luaL_typename(L, table));
    }
    (void)pra_relabel_rule_init(rule, sizeof *rule);
    for (lua_pushnil(L); lua_next(L, table);) {
        if (lua_type(L, -2) != LUA_TSTRING) {
            (void)luaL_error(L, "rule %d has a field that is no name", (int)p->number);
        }
        wrong |= take_field(L, p, lua_tostring(L, -2), rule);
    }
    return wrong;
}

/* relabel(rules, limits) */
static int new_relabel(lua_State *L)
{
    enum { RULES = 1, LIMITS, ANCHOR };
    pra_error err = {0};
    luaL_checktype(L, RULES, LUA_TTABLE);
    lua_settop(L, LIMITS);
    const pra_limits *limits = pra__lua_limits(L, LIMITS);
    const size_t count = lua_rawlen(L, RULES);
    lua_newtable(L);
    parsing p = {ANCHOR, 0, 0};
    pra_relabel_rule *rules = lua_newuserdatauv(L, count * sizeof *rules + 1, 0);
    for (size_t i = 0; i < count; i++) {
        p.number = (lua_Integer)i + 1;
        (void)lua_rawgeti(L, RULES, p.number);
        if (take_rule(L, &p, &rules[i])) {
            lua_pushnil(L);
            (void)lua_pushfstring(L, "rule %d: no such action", (int)p.number);
            lua_pushinteger(L, PRA_ERR_INVALID_ARG);
            return 3;
        }
        lua_pop(L, 1);
    }
    relabel *r = lua_newuserdatauv(L, sizeof *r, 0);
    *r = (relabel){NULL, NULL, 0};
    luaL_setmetatable(L, PRA__LUA_RELABEL);
    int code = pra_relabel_new(NULL, rules, count, limits, &r->rules, &err);
    if (code == PRA_OK) {
        code = pra_arena_new(NULL, 0, &r->arena);
    }
    return code == PRA_OK ? 1 : pra__lua_fail(L, code, &err);
}

static int apply(lua_State *L, const relabel *r, pra_arena *arena)
{
    enum { LABELS = 2 };
    pra_label few[PRA__LUA_SMALL];
    pra_error err = {0};
    const pra_label *left;
    size_t count, left_count;
    const pra_label *labels = pra__lua_labels_get(L, LABELS, few, &count);
    int code = pra_relabel_labels(r->rules, labels, count, arena, &left, &left_count, &err);
    if (code < 0) {
        return pra__lua_fail(L, code, &err);
    }
    if (code == PRA_DONE) {
        lua_pushnil(L);
        return 1;
    }
    /* Some of the strings are those of the labels, which a finalizer could take away. */
    luaL_checkstack(L, (int)(2 * left_count) + 2, "too many labels");
    for (size_t i = 0; i < left_count; i++) {
        pra__lua_push_str(L, left[i].name);
        pra__lua_push_str(L, left[i].value);
    }
    lua_createtable(L, 0, (int)left_count);
    lua_insert(L, -1 - (int)(2 * left_count));
    for (size_t i = 0; i < left_count; i++) {
        lua_rawset(L, -1 - 2 * (int)(left_count - i));
    }
    return 1;
}

/* relabel:labels(labels): a new table, or nil if a rule drops it. */
static int relabel_labels(lua_State *L)
{
    relabel *r = check_relabel(L, 1);
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_settop(L, 2);
    if (r->busy) { /* a finalizer calls it within itself */
        pra__lua_holder *h = pra__lua_holder_push(L);
        int code = pra_arena_new(NULL, 0, &h->arena);
        return code == PRA_OK ? apply(L, r, h->arena) : pra__lua_fail(L, code, NULL);
    }
    r->busy = 1;
    pra_arena_reset(r->arena);
    int results = apply(L, r, r->arena);
    r->busy = 0;
    return results;
}

/* ---- from one request to others */

/* relabel(self, relabel): a request, and how many series were dropped. */
static int request_relabel(lua_State *L)
{
    pra_error err = {0};
    uint64_t dropped = 0;
    const pra__lua_request *from = pra__lua_request_check(L, 1);
    const relabel *rules = check_relabel(L, 2);
    pra__lua_request *to = pra__lua_request_new(L, from->view.integers);
    int code =
        pra_write_request_relabel(from->view.object, rules->rules, to->built, &dropped, &err);
    if (code != PRA_OK) {
        return pra__lua_fail(L, code, &err);
    }
    pra__lua_request_filled(L, to);
    lua_pushinteger(L, (lua_Integer)dropped);
    return 2;
}

/* split(self, n): a list of requests. */
static int request_split(lua_State *L)
{
    enum { MOST = 1 << 16 };
    pra_error err = {0};
    const pra__lua_request *from = pra__lua_request_check(L, 1);
    const size_t count = (size_t)pra__lua_check_int64(L, 2, 1, MOST);
    lua_settop(L, 2);
    lua_createtable(L, (int)count, 0);
    pra_write_request **out = lua_newuserdatauv(L, count * sizeof(pra_write_request *), 0);
    for (size_t i = 0; i < count; i++) {
        out[i] = pra__lua_request_new(L, from->view.integers)->built;
        lua_rawseti(L, 3, (lua_Integer)i + 1);
    }
    int code = pra_write_request_split(from->view.object, out, count, &err);
    lua_settop(L, 3);
    for (size_t i = 1; i <= count; i++) {
        (void)lua_rawgeti(L, 3, (lua_Integer)i);
        pra__lua_request_filled(L, lua_touserdata(L, -1));
        lua_pop(L, 1);
    }
    return code == PRA_OK ? 1 : pra__lua_fail(L, code, &err);
}

void pra__lua_build_register(lua_State *L)
{
    static const luaL_Reg none[] = {{NULL, NULL}};
    static const luaL_Reg functions[] = {{"relabel", new_relabel}, {NULL, NULL}};
    static const luaL_Reg relabel_methods[] = {{"labels", relabel_labels}, {NULL, NULL}};
    static const luaL_Reg relabel_meta[] = {{"__gc", relabel_gc}, {NULL, NULL}};
    static const luaL_Reg methods[] = {{"add", request_add},
                                       {"add_metadata", request_add_metadata},
                                       {"relabel", request_relabel},
                                       {"split", request_split},
                                       {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
    lua_getfield(L, -1, "Request");
    luaL_setfuncs(L, methods, 0);
    lua_pop(L, 1);
    pra__lua_class_register(L, PRA__LUA_RELABEL, pra__lua_view_index, relabel_methods, none,
                            relabel_meta);
    lua_setfield(L, -2, "Relabel");
}
