/* SPDX-License-Identifier: Apache-2.0 */
/* Native histograms: columns become plain tables, and back. */
#include "thunk_lua.h"

#include <string.h>

static const char *const hints[] = {"unknown", "yes", "no", "gauge", NULL};

/* ---- from columns */

/* A count that may be an integer or a double. */
static void set_count(lua_State *L, const char *name, uint64_t bits, int is_float, int integers)
{
    lua_Number number;
    memcpy(&number, &bits, sizeof number);
    if (is_float) {
        lua_pushnumber(L, number);
    } else {
        pra__lua_push_unsigned(L, bits, integers);
    }
    lua_setfield(L, -2, name);
}

static void set_integer(lua_State *L, const char *name, int64_t value, int integers)
{
    pra__lua_push_integer(L, value, integers);
    lua_setfield(L, -2, name);
}

/* A list of {offset, length}; absent if empty, like the lists below. */
static void set_spans(lua_State *L, const char *name, const pra_bucket_span *spans, pra_range range)
{
    if (range.count == 0) {
        return;
    }
    lua_createtable(L, (int)range.count, 0);
    for (uint32_t i = 0; i < range.count; i++) {
        lua_createtable(L, 0, 2);
        set_integer(L, "offset", spans[range.start + i].offset, PRA__LUA_EXACT);
        set_integer(L, "length", spans[range.start + i].length, PRA__LUA_EXACT);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_setfield(L, -2, name);
}

static void set_integers(lua_State *L, const char *name, const int64_t *items, pra_range range,
                         int integers)
{
    if (range.count > 0) {
        pra__lua_push_integers(L, items + range.start, range.count, integers);
        lua_setfield(L, -2, name);
    }
}

static void set_numbers(lua_State *L, const char *name, const double *items, pra_range range)
{
    if (range.count > 0) {
        pra__lua_push_numbers(L, items + range.start, range.count);
        lua_setfield(L, -2, name);
    }
}

/* Counts of integer buckets: each the one before plus its delta. */
static void set_sums(lua_State *L, const char *name, const int64_t *deltas, pra_range range,
                     int integers)
{
    uint64_t sum = 0;
    if (range.count == 0) {
        return;
    }
    lua_createtable(L, (int)range.count, 0);
    for (uint32_t i = 0; i < range.count; i++) {
        sum += (uint64_t)deltas[range.start + i];
        pra__lua_push_unsigned(L, sum, integers);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_setfield(L, -2, name);
}

static void set_buckets(lua_State *L, const pra_columns *c, const pra_histogram *h, int integers)
{
    set_spans(L, "positive_spans", c->bucket_spans, h->positive_spans);
    set_spans(L, "negative_spans", c->negative_bucket_spans, h->negative_spans);
    set_numbers(L, "custom_values", c->custom_values, h->custom_values);
    if (h->flags & PRA_HISTOGRAM_FLOAT) {
        set_numbers(L, "positive_buckets", c->positive_counts, h->positive_counts);
        set_numbers(L, "negative_buckets", c->negative_counts, h->negative_counts);
    } else {
        set_sums(L, "positive_buckets", c->positive_deltas, h->positive_deltas, integers);
        set_sums(L, "negative_buckets", c->negative_deltas, h->negative_deltas, integers);
        set_integers(L, "positive_deltas", c->positive_deltas, h->positive_deltas, integers);
        set_integers(L, "negative_deltas", c->negative_deltas, h->negative_deltas, integers);
    }
}

void pra__lua_histogram_push(lua_State *L, const pra_columns *columns, const pra_histogram *h,
                             int integers)
{
    const int is_float = (h->flags & PRA_HISTOGRAM_FLOAT) != 0;
    /* a zero count of the other kind means nothing [W-47] */
    const int has_zero = ((h->flags & PRA_HISTOGRAM_ZERO_FLOAT) != 0) == is_float;
    lua_createtable(L, 0, 16);
    set_integer(L, "timestamp", h->timestamp_ms, integers);
    if (h->start_timestamp_ms != 0) {
        set_integer(L, "start_timestamp", h->start_timestamp_ms, integers);
    }
    set_integer(L, "schema", h->schema, PRA__LUA_EXACT);
    if (is_float) { /* before 5.3 the numbers themselves do not say it */
        lua_pushboolean(L, 1);
        lua_setfield(L, -2, "is_float");
    }
    set_count(L, "count", h->count_bits, is_float, integers);
    set_count(L, "zero_count", has_zero ? h->zero_count_bits : 0, is_float, integers);
    lua_pushnumber(L, h->sum);
    lua_setfield(L, -2, "sum");
    lua_pushnumber(L, h->zero_threshold);
    lua_setfield(L, -2, "zero_threshold");
    int known = h->reset_hint >= 0 && h->reset_hint <= PRA_COUNTER_RESET_GAUGE;
    (void)lua_pushstring(L, hints[known ? h->reset_hint : PRA_COUNTER_RESET_UNKNOWN]);
    lua_setfield(L, -2, "reset_hint");
    set_buckets(L, columns, h, integers);
}

/* ---- to columns */

/* A list of a histogram, on the stack. */
typedef struct list {
    const char *name;
    int index;
    uint32_t count;
    void *items; /* of 8 bytes each */
} list;

enum { POSITIVE_SPANS, NEGATIVE_SPANS, POSITIVE_BUCKETS, NEGATIVE_BUCKETS, CUSTOM_VALUES, LISTS };
enum { ITEM_BYTES = 8 };

static int wrong(lua_State *L, const char *name)
{
    return luaL_error(L, "field %s of a histogram is not what it should be", name);
}

/* Pushes the lists and room for their numbers. */
static void get_lists(lua_State *L, int index, list *lists)
{
    static const char *const names[LISTS] = {"positive_spans", "negative_spans", "positive_buckets",
                                             "negative_buckets", "custom_values"};
    size_t total = 0;
    for (int i = 0; i < LISTS; i++) {
        int type = lua_getfield(L, index, names[i]);
        size_t count = type == LUA_TTABLE ? lua_rawlen(L, -1) : 0;
        if ((type != LUA_TTABLE && type != LUA_TNIL) || count > INT32_MAX / LISTS) {
            (void)wrong(L, names[i]);
        }
        lists[i] = (list){names[i], lua_gettop(L), (uint32_t)count, NULL};
        total += count;
    }
    char *room = lua_newuserdatauv(L, total * ITEM_BYTES, 0);
    for (int i = 0; i < LISTS; i++) {
        lists[i].items = room;
        room += (size_t)lists[i].count * ITEM_BYTES;
    }
}

static int64_t integer_field(lua_State *L, int index, const char *name, int64_t min, int64_t max)
{
    int exact = 1;
    int64_t value = 0;
    if (lua_getfield(L, index, name) != LUA_TNIL) {
        exact = pra__lua_to_int64(L, -1, &value);
    }
    if (!exact || value < min || value > max) {
        (void)wrong(L, name);
    }
    lua_pop(L, 1);
    return value;
}

static double number_field(lua_State *L, int index, const char *name, int needed)
{
    int number = !needed;
    double value = 0;
    if (lua_getfield(L, index, name) != LUA_TNIL) {
        value = lua_tonumberx(L, -1, &number);
    }
    if (!number) {
        (void)wrong(L, name);
    }
    lua_pop(L, 1);
    return value;
}

static uint64_t count_field(lua_State *L, int index, const char *name, int is_float)
{
    uint64_t bits = 0;
    if (is_float) {
        double number = number_field(L, index, name, 0);
        memcpy(&bits, &number, sizeof bits);
        return bits;
    }
    if (lua_getfield(L, index, name) != LUA_TNIL && !pra__lua_to_uint64(L, -1, &bits)) {
        (void)wrong(L, name);
    }
    lua_pop(L, 1);
    return bits;
}

static int32_t hint_field(lua_State *L, int index)
{
    int32_t hint = PRA_COUNTER_RESET_UNKNOWN;
    if (lua_getfield(L, index, "reset_hint") != LUA_TNIL) {
        const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
        while (hints[hint] && strcmp(hints[hint], text) != 0) {
            hint++;
        }
        if (!hints[hint]) {
            (void)wrong(L, "reset_hint");
        }
    }
    lua_pop(L, 1);
    return hint;
}

static void fill_spans(lua_State *L, const list *l)
{
    pra_bucket_span *spans = l->items;
    for (uint32_t i = 0; i < l->count; i++) {
        if (lua_rawgeti(L, l->index, (lua_Integer)i + 1) != LUA_TTABLE) {
            (void)wrong(L, l->name);
        }
        int span = lua_gettop(L);
        spans[i].offset = (int32_t)integer_field(L, span, "offset", INT32_MIN, INT32_MAX);
        spans[i].length = (uint32_t)integer_field(L, span, "length", 0, UINT32_MAX);
        lua_pop(L, 1);
    }
}

static void fill_numbers(lua_State *L, const list *l)
{
    double *numbers = l->items;
    for (uint32_t i = 0; i < l->count; i++) {
        int number;
        (void)lua_rawgeti(L, l->index, (lua_Integer)i + 1);
        numbers[i] = lua_tonumberx(L, -1, &number);
        if (!number) {
            (void)wrong(L, l->name);
        }
        lua_pop(L, 1);
    }
}

/* Sums of deltas wrap around, so that a count may be negative, too. */
static int to_bucket(lua_State *L, uint64_t *out)
{
    int64_t value;
    if (!pra__lua_to_int64(L, -1, &value)) {
        return pra__lua_to_uint64(L, -1, out);
    }
    *out = (uint64_t)value;
    return 1;
}

static void fill_deltas(lua_State *L, const list *l)
{
    int64_t *deltas = l->items;
    uint64_t before = 0;
    for (uint32_t i = 0; i < l->count; i++) {
        uint64_t now;
        (void)lua_rawgeti(L, l->index, (lua_Integer)i + 1);
        if (!to_bucket(L, &now)) {
            (void)wrong(L, l->name);
        }
        deltas[i] = (int64_t)(now - before);
        before = now;
        lua_pop(L, 1);
    }
}

static void fill_numbers_of(lua_State *L, int index, pra_histogram *h)
{
    int type = lua_getfield(L, index, "count");
    int is_float = type == LUA_TNUMBER && !lua_isinteger(L, -1);
    if (type == LUA_TNIL) {
        (void)wrong(L, "count");
    }
    if (lua_getfield(L, index, "is_float") != LUA_TNIL) {
        is_float = lua_toboolean(L, -1);
    }
    lua_pop(L, 2);
    *h = (pra_histogram){.flags = is_float ? PRA_HISTOGRAM_FLOAT | PRA_HISTOGRAM_ZERO_FLOAT : 0};
    h->timestamp_ms = integer_field(L, index, "timestamp", INT64_MIN, INT64_MAX);
    h->start_timestamp_ms = integer_field(L, index, "start_timestamp", INT64_MIN, INT64_MAX);
    h->schema = (int32_t)integer_field(L, index, "schema", INT32_MIN, INT32_MAX);
    h->count_bits = count_field(L, index, "count", is_float);
    h->zero_count_bits = count_field(L, index, "zero_count", is_float);
    h->sum = number_field(L, index, "sum", 1);
    h->zero_threshold = number_field(L, index, "zero_threshold", 0);
    h->reset_hint = hint_field(L, index);
}

static void point_columns(pra__lua_histogram *out, const list *lists)
{
    pra_histogram *h = &out->histogram;
    const list *positive = &lists[POSITIVE_BUCKETS], *negative = &lists[NEGATIVE_BUCKETS];
    out->columns = (pra_columns){.size = sizeof out->columns,
                                 .histograms = h,
                                 .histogram_count = 1,
                                 .bucket_spans = lists[POSITIVE_SPANS].items,
                                 .bucket_span_count = lists[POSITIVE_SPANS].count,
                                 .negative_bucket_spans = lists[NEGATIVE_SPANS].items,
                                 .negative_bucket_span_count = lists[NEGATIVE_SPANS].count,
                                 .custom_values = lists[CUSTOM_VALUES].items,
                                 .custom_value_count = lists[CUSTOM_VALUES].count};
    h->positive_spans.count = lists[POSITIVE_SPANS].count;
    h->negative_spans.count = lists[NEGATIVE_SPANS].count;
    h->custom_values.count = lists[CUSTOM_VALUES].count;
    if (h->flags & PRA_HISTOGRAM_FLOAT) {
        out->columns.positive_counts = positive->items;
        out->columns.negative_counts = negative->items;
        h->positive_counts.count = positive->count;
        h->negative_counts.count = negative->count;
        out->columns.positive_count_count = positive->count;
        out->columns.negative_count_count = negative->count;
    } else {
        out->columns.positive_deltas = positive->items;
        out->columns.negative_deltas = negative->items;
        h->positive_deltas.count = positive->count;
        h->negative_deltas.count = negative->count;
        out->columns.positive_delta_count = positive->count;
        out->columns.negative_delta_count = negative->count;
    }
}

void pra__lua_histogram_fill(lua_State *L, int index, pra__lua_histogram *out)
{
    list lists[LISTS];
    luaL_checkstack(L, LISTS + 4, NULL);
    if (!lua_istable(L, index)) {
        (void)luaL_error(L, "a histogram is a table, not a %s", luaL_typename(L, index));
    }
    fill_numbers_of(L, index, &out->histogram);
    get_lists(L, index, lists);
    fill_spans(L, &lists[POSITIVE_SPANS]);
    fill_spans(L, &lists[NEGATIVE_SPANS]);
    fill_numbers(L, &lists[CUSTOM_VALUES]);
    for (int i = POSITIVE_BUCKETS; i <= NEGATIVE_BUCKETS; i++) {
        if (out->histogram.flags & PRA_HISTOGRAM_FLOAT) {
            fill_numbers(L, &lists[i]);
        } else {
            fill_deltas(L, &lists[i]);
        }
    }
    point_columns(out, lists);
}

/* ---- functions of the module */

/* histogram_encode(histogram): a string. */
static int histogram_encode(lua_State *L)
{
    pra__lua_histogram histogram;
    lua_settop(L, 1);
    pra__lua_holder *h = pra__lua_holder_push(L);
    pra__lua_histogram_fill(L, 1, &histogram);
    int code = pra_buffer_new(NULL, &h->message);
    if (code == PRA_OK) {
        code = pra_histogram_encode(&histogram.columns, 0, h->message);
    }
    if (code != PRA_OK) {
        return luaL_error(L, "%s",
                          code == PRA_ERR_NOMEM ? "not enough memory" : pra_strerror(code));
    }
    lua_pushvalue(L, 2);
    return pra__lua_encoded(L, h, code, 0, NULL);
}

/* histogram_decode(bytes [, integers]): a histogram; or nil, message, code. */
static int histogram_decode(lua_State *L)
{
    pra_str data;
    pra_error err = {0};
    pra_columns columns = {.size = sizeof columns};
    data.ptr = luaL_checklstring(L, 1, &data.len);
    int integers = pra__lua_integers(L, 2);
    pra__lua_holder *h = pra__lua_holder_push(L);
    const int holder = lua_gettop(L);
    int code = pra_write_request_new(NULL, &h->request);
    if (code == PRA_OK) {
        code = pra_write_request_add_series(h->request, NULL, 0);
    }
    if (code == PRA_OK) {
        code = pra_write_request_add_histogram_encoded(h->request, data.ptr, data.len, &err);
    }
    if (code == PRA_OK) {
        code = pra_write_request_columns(h->request, &columns);
    }
    if (code != PRA_OK) {
        return pra__lua_fail(L, code, &err);
    }
    pra__lua_histogram_push(L, &columns, columns.histograms, integers);
    pra__lua_holder_release(L, holder);
    return 1;
}

/* histogram_bound(schema, index) */
static int histogram_bound(lua_State *L)
{
    int64_t schema = pra__lua_check_int64(L, 1, INT32_MIN, INT32_MAX);
    int64_t index = pra__lua_check_int64(L, 2, INT32_MIN, INT32_MAX);
    lua_pushnumber(L, pra_histogram_bound((int32_t)schema, (int32_t)index));
    return 1;
}

void pra__lua_histogram_register(lua_State *L)
{
    static const luaL_Reg functions[] = {{"histogram_encode", histogram_encode},
                                         {"histogram_decode", histogram_decode},
                                         {"histogram_bound", histogram_bound},
                                         {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
