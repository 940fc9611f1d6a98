/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The C side of the Lua module: a storage trait that calls a Lua table of functions.
 *
 * Rules of these files
 * - A callback of the trait enters Lua through one lua_pcall of a C function (bridge), inside which
 *   everything happens that may raise: no longjmp crosses a frame of libpra.
 * - Memory is Lua's own (userdata), so a raised error leaks nothing. pra_alloc is not used here.
 * - One Lua universe (all coroutines of one luaL_newstate) is used by one thread at a time: by the
 *   thread that called into the module, or, while that one waits in serve, by whichever thread
 *   holds the universe's lock.
 */
#ifndef PRA_THUNK_LUA_H
#define PRA_THUNK_LUA_H

#include "lua_compat.h"
#include "lua_host.h"
#include "pra.h"
#include "pra_server.h"

/* Names of metatables. */
#define PRA__LUA_CONTEXT "pra.context"
#define PRA__LUA_REQUEST "pra.request"
#define PRA__LUA_QUERY "pra.query"
#define PRA__LUA_SINK "pra.sink"
#define PRA__LUA_VERDICT "pra.verdict"
#define PRA__LUA_SERIES "pra.series"
#define PRA__LUA_COLUMN "pra.column"
#define PRA__LUA_COLUMN_COPY "pra.column.copy"
#define PRA__LUA_HOLDER "pra.holder"
#define PRA__LUA_RELABEL "pra.relabel"
#define PRA__LUA_HOST "pra.host"

/* ---- lua_caps.c: what one call of a storage function, or loading a script, may use */

typedef struct pra__lua_caps {
    uint64_t memory;       /* bytes of the state beyond its level at the start; 0 = no cap */
    uint64_t instructions; /* of the virtual machine; 0 = no cap */
    int signals;           /* it ends when SIGTERM or SIGINT, which are blocked, waits */
} pra__lua_caps;

enum { PRA__LUA_WITHIN = 0, PRA__LUA_MEMORY = 1, PRA__LUA_INSTRUCTIONS = 2, PRA__LUA_SIGNAL = 3 };

/* Part of a universe. */
typedef struct pra__lua_meter {
    lua_Alloc alloc; /* the state's own; NULL: its memory is not counted */
    void *alloc_ctx;
    size_t used, ceiling; /* bytes */
    size_t refused;       /* bytes asked for last, if they were refused; else 0 */
    size_t refusals;
    int in_vain;                 /* Lua has failed for want of memory */
    lua_State *caller;           /* where the call runs; NULL: no call, or none with caps */
    pra__lua_caps caps;          /* of the call */
    int counts;                  /* there are calls with a cap of instructions */
    uint64_t left;               /* instructions */
    int over;                    /* the call is to end, for this cap; 0 = no */
    char where[LUA_IDSIZE + 16]; /* "file:line: " where no instruction was left */
} pra__lua_meter;

/* A call with caps; what the hook was before. */
typedef struct pra__lua_call_meter {
    pra__lua_meter *meter; /* NULL = none */
    lua_Hook hook;
    int mask, count;
    int ended; /* the call was to end, whatever it returned */
} pra__lua_call_meter;

/* May raise. */
void pra__lua_meter_init(lua_State *L, pra__lua_meter *m);
/* That of L's universe; NULL before pra__lua_open. */
pra__lua_meter *pra__lua_meter_of(lua_State *L);
/* Counts the memory of L's universe, from pra__lua_open on; detach comes before lua_close. */
void pra__lua_meter_attach(lua_State *L);
void pra__lua_meter_detach(lua_State *L);
/* Counts instructions in L, and in coroutines that it makes from now on. */
void pra__lua_meter_hook(lua_State *L);
/* A call within a call counts for the outer one. */
void pra__lua_meter_begin(lua_State *L, const pra__lua_caps *caps, pra__lua_call_meter *out);
/* Lifts the caps. Returns which was exceeded; the next time PRA__LUA_WITHIN. */
int pra__lua_meter_end(pra__lua_call_meter *call);
/* Says which cap, after meter_end; where: "in one call". */
void pra__lua_meter_say(const pra__lua_meter *m, int exceeded, const char *where, char *text,
                        size_t room);

/* ---- thunk_lua.c: the storage */

/* Where the text of a script error (message and traceback, several lines) goes. entry is the name
 * of the storage function. Called from any thread. */
typedef struct pra__lua_log {
    void *ctx;
    void (*fn)(void *ctx, const char *entry, const char *text_cstr);
    void (*capped)(void *ctx, int cap); /* a call was ended by this cap; may be NULL */
} pra__lua_log;

/*
 * Makes a storage of the options table at index: field storage, a table with functions write,
 * process_query, read, close; field log, a function that takes the text of a script error (default:
 * log, or standard error where log is NULL); fields max_memory (where memory is counted) and
 * max_instructions: the caps of a call. The Lua objects stay alive until out's destroy.
 * May raise, and then nothing is kept.
 */
void pra__lua_storage_new(lua_State *L, int index, const pra__lua_log *log, pra_storage *out);
/* Calls the storage's function close, if there is one. Before destroy. */
void pra__lua_storage_close(const pra_storage *storage);

/* Callbacks may run on L, which belongs to the calling thread, until leave; returns what leave
 * takes. Calls nest. Do not raise. */
lua_State *pra__lua_enter(lua_State *L);
void pra__lua_leave(lua_State *L, lua_State *previous);

/* Calls function(argument as light userdata): LUA_OK, or the status, and an error on the stack.
 * Needs two free slots; does not raise. */
int pra__lua_protect(lua_State *L, lua_CFunction function, void *argument);

/* The cap in this field of the table at index: 0 = none. Raises if it is no number. */
uint64_t pra__lua_cap(lua_State *L, int index, const char *name);

/* Registers the metatables, and the functions of thunk_lua.c and its sisters in the table on top of
 * the stack. May raise. */
void pra__lua_open(lua_State *L);

/* The limits of a core.Limits() at index; NULL for nil. Raises. */
const pra_limits *pra__lua_limits(lua_State *L, int index);

/* ---- lua_held.c */

/* Objects hold so much more, or less, memory that is not Lua's: its collector does not see it. hold
 * may run it, and so may raise; let_go does not. */
void pra__lua_hold(lua_State *L, size_t bytes);
void pra__lua_let_go(lua_State *L, size_t bytes);
void pra__lua_held_register(lua_State *L);

/* ---- how a script wants its integers */

enum { PRA__LUA_EXACT = 0, PRA__LUA_TEXT = 1 };

/* Of the option integers at index: nil, or "string". Raises. */
int pra__lua_integers(lua_State *L, int index);
void pra__lua_push_integer(lua_State *L, int64_t value, int integers);
void pra__lua_push_unsigned(lua_State *L, uint64_t value, int integers);

/* ---- lua_serve.c: the server */

/* Calls the function at announce when signals reach the server alone, and raises what it raises.
 * Then runs the server until SIGINT or SIGTERM and stops it; on SIGHUP the host, which may be NULL,
 * runs its script again. Returns the signal's number, or a PRA_ERR_ code. */
int pra__lua_serve(lua_State *L, pra_server *server, uint32_t grace_ms, pra__lua_host *host,
                   int announce, pra_error *err);
/* A pra_log on standard error. */
void pra__lua_stderr_log(void *ctx, int32_t level, const char *fields_cstr);
/* What core.host made, or nil. */
int pra__lua_is_host(lua_State *L, int index);
/* NULL for nil. */
pra__lua_host *pra__lua_to_host(lua_State *L, int index);
/* 1 and the storage of the host in field host of the table at index, once; else 0. */
int pra__lua_host_take(lua_State *L, int index, pra_storage *out);
/* Sets functions in the table on top of the stack. May raise. */
void pra__lua_serve_register(lua_State *L);

/* ---- lua_views.c: what a storage function is handed */

/* The object behind a userdata that lives as long as one callback. */
typedef struct pra__lua_view {
    const void *object;                  /* NULL when the callback is over */
    void *output;                        /* request: pra_write_result */
    void (*end)(struct pra__lua_view *); /* called when it is over; may be NULL */
    int integers;
    struct pra__lua_view *next; /* of the same callback */
} pra__lua_view;

/* Those of one callback. */
typedef struct pra__lua_views {
    pra__lua_view *first;
    int integers;
} pra__lua_views;

/* Pushes a view and puts it into the list. May raise. */
void pra__lua_view_push(lua_State *L, const char *type, const void *object, pra__lua_views *list);
/* Ends them all. They must be on the stack. Does not raise. */
void pra__lua_views_end(pra__lua_views *list);
/* The view at index; raises if it is of another type or over. */
pra__lua_view *pra__lua_view_check(lua_State *L, int index, const char *type);
/* Raises that. */
void pra__lua_view_over(lua_State *L, const char *type);
/* An __index: a method of upvalue 1, or what the getter in upvalue 2 makes of the object. */
int pra__lua_view_index(lua_State *L);
/* Makes a metatable with index, meta, methods and getters, and pushes the table of methods. May
 * raise. */
void pra__lua_class_register(lua_State *L, const char *type, lua_CFunction index,
                             const luaL_Reg *methods, const luaL_Reg *getters,
                             const luaL_Reg *meta);
void pra__lua_views_register(lua_State *L);

/* ---- lua_request.c: write requests */

/* view.object is NULL when the call is over that it was handed to; then kept is what series of it
 * are made of, if there can be any. */
typedef struct pra__lua_request {
    pra__lua_view view;
    pra_write_request *kept;    /* a share of our own */
    pra_write_request *built;   /* the same, while it can be added to */
    pra_write_request *scratch; /* where a series is put together before it is added */
    size_t fills;               /* of scratch */
    int shown;                  /* series or columns were asked for */
    size_t held;                /* bytes that the collector was told of */
    pra_columns columns;        /* of what is built as of the last look */
    /* Of metadata: entries looked at; the stretch of them in which all are that series have. */
    size_t seen, own_first, own_end;
} pra__lua_request;

/* Pushes the request of a callback. May raise. */
void pra__lua_request_push(lua_State *L, const pra_write_request *object, pra_write_result *result,
                           pra__lua_views *views);
/* Pushes an empty one, to be built. May raise. */
pra__lua_request *pra__lua_request_new(lua_State *L, int integers);
/* More has been put into one that is built; the collector is told. May raise. */
void pra__lua_request_filled(lua_State *L, pra__lua_request *r);
/* The request at index; raises if it is over. */
pra__lua_request *pra__lua_request_check(lua_State *L, int index);
const pra_columns *pra__lua_request_columns(lua_State *L, int index);
/* Of a request that is one for sure: what an iterator has as an upvalue. */
const pra_columns *pra__lua_request_now(lua_State *L, pra__lua_request *r);
/* What series and columns are made of, with out's columns as they are now; also of one that is
 * over, if it had been asked for before. Raises. */
const pra_write_request *pra__lua_request_data(lua_State *L, pra__lua_request *r);
/* Arguments from reason_index on: reason [, kind [, count]]. Raises. */
void pra__lua_reject(lua_State *L, pra__lua_request *r, size_t series, int reason_index);
void pra__lua_requests_register(lua_State *L);

/* Pushes nil, message, code; returns 3. err may be NULL. */
int pra__lua_fail(lua_State *L, int code, const pra_error *err);

/* What is freed with a userdata: a raised error must not leak it. */
typedef struct pra__lua_holder {
    pra_buffer *message, *block;
    pra_arena *arena;
    pra_write_request *request;
    pra_read_request *queries;
    pra_read_response *response;
    pra_stream_reader *reader;
} pra__lua_holder;

/* Pushes an empty one. May raise. */
pra__lua_holder *pra__lua_holder_push(lua_State *L);
/* Frees what the holder at index holds, before the collector comes by. May raise. */
void pra__lua_holder_release(lua_State *L, int index);
/* The end of a function that encoded into the message of the holder on top of the stack. */
int pra__lua_encoded(lua_State *L, pra__lua_holder *h, int code, int compressed, pra_error *err);

/* Number of a type's name, or -1. */
int32_t pra__lua_metric_type(const char *name_cstr);

/* ---- lua_build.c: adding to requests, rules, and what makes new requests */

/* Sets functions and methods in the table on top of the stack. May raise. */
void pra__lua_build_register(lua_State *L);

/* ---- lua_client.c: the side that asks */

void pra__lua_client_register(lua_State *L);

/* ---- lua_histogram.c: native histograms */

/* One histogram as columns of its own. */
typedef struct pra__lua_histogram {
    pra_histogram histogram;
    pra_columns columns; /* without series */
} pra__lua_histogram;

/* Pushes a table. May raise. */
void pra__lua_histogram_push(lua_State *L, const pra_columns *columns, const pra_histogram *h,
                             int integers);
/* Fills out from the table at index (absolute), leaving on the stack what out points into. Raises.
 */
void pra__lua_histogram_fill(lua_State *L, int index, pra__lua_histogram *out);
/* Sets functions in the table on top of the stack. May raise. */
void pra__lua_histogram_register(lua_State *L);

/* ---- lua_columns.c: numbers without a table of them */

typedef enum pra__lua_kind { PRA__LUA_DOUBLE, PRA__LUA_INT64, PRA__LUA_UINT32 } pra__lua_kind;

typedef struct pra__lua_numbers {
    const void *items;
    size_t count;
    pra__lua_kind kind;
    int integers;
} pra__lua_numbers;

/* Pushes a Column of numbers of the request; copied: it is no owner of it. May raise. */
void pra__lua_column_push(lua_State *L, const pra_write_request *request, int copied,
                          pra__lua_numbers numbers);
/* 1 and what is in the Column at index, valid as long as it is there; 0 if it is something else. */
int pra__lua_column_get(lua_State *L, int index, pra__lua_numbers *out);
void pra__lua_columns_register(lua_State *L);

/* ---- lua_series.c: series as objects and as tables */

/* request:series() */
int pra__lua_request_series(lua_State *L);
/* Pushes series number index as a plain table. May raise. */
void pra__lua_series_push_table(lua_State *L, const pra_columns *columns, size_t index,
                                int integers);
/* 1 with a request, whose columns are up to date, and index if the table at index object is a
 * series of it of which, but for its labels, a script cannot have changed anything. Raises. */
int pra__lua_series_whole(lua_State *L, int object, pra__lua_request **request, size_t *index);
/* Push a list. May raise. */
void pra__lua_push_integers(lua_State *L, const int64_t *items, size_t count, int integers);
void pra__lua_push_numbers(lua_State *L, const double *items, size_t count);
void pra__lua_series_register(lua_State *L);

/* ---- lua_labels.c: labels as tables, and back */

/* Push a string. May raise. */
void pra__lua_push_str(lua_State *L, pra_str str);
void pra__lua_push_span(lua_State *L, const char *base, pra_span span);
/* Pushes a table. May raise. */
void pra__lua_push_label_spans(lua_State *L, const char *base, const pra_label_span *labels,
                               size_t count);
/* Pushes a table for the strings of the labels of all series. May raise. */
void pra__lua_strings_push(lua_State *L, const pra_columns *columns);
/* Pushes the labels of one series, with the table of strings at index strings; follows: it was last
 * used for the series before. May raise. */
void pra__lua_labels_push(lua_State *L, const pra_columns *columns, size_t series, int strings,
                          int follows);
/* Pushes 16 hexadecimal digits. May raise. */
void pra__lua_push_fingerprint(lua_State *L, const pra_columns *columns, size_t series);
/* request:labels(), request:each_label() */
int pra__lua_request_labels(lua_State *L);
int pra__lua_request_each_label(lua_State *L);
/* key(labels [, prefix]): one string for one set of labels. */
int pra__lua_key(lua_State *L);

enum { PRA__LUA_SMALL = 64 }; /* labels that are kept on the C stack */

/* Room for count labels: few, or a userdata that is pushed (nil is pushed otherwise). */
pra_label *pra__lua_labels_room(lua_State *L, size_t count, pra_label *few);
/* Number of entries of the table at index. */
size_t pra__lua_labels_count(lua_State *L, int index);
/* Fills out with at most room labels of the table at index; the strings are the table's. Raises if
 * an entry is not a pair of strings. Allocates nothing, so that no finalizer can run. */
size_t pra__lua_labels_fill(lua_State *L, int index, pra_label *out, size_t room);

/* ---- lua_sink.c: series into an answer */

/* sink:add(series) */
int pra__lua_sink_add_method(lua_State *L);
/* Adds the series on top of the stack to the sink and pops it; raises. */
void pra__lua_sink_add(lua_State *L, pra_series_sink *sink);

/* A list of numbers of a script, on the stack: a table, or the numbers of a Column. */
typedef struct pra__lua_list {
    const char *name;
    int index;
    pra__lua_numbers numbers; /* items NULL: in the table */
} pra__lua_list;

typedef struct pra__lua_samples {
    pra__lua_list timestamps, values, starts;
    size_t count;
} pra__lua_samples;

enum { PRA__LUA_PIECE = 256 }; /* samples that are kept on the C stack */

/* Pushes fields timestamps, values and start_timestamps of the series at index (absolute), and at
 * most one value more. Returns 1 if there are starts. Raises. */
int pra__lua_samples_open(lua_State *L, int series, pra__lua_samples *out);
/* count numbers of the list, in room (of PRA__LUA_PIECE) if they are in a table. Raise. */
const int64_t *pra__lua_list_integers(lua_State *L, const pra__lua_list *list, size_t start,
                                      size_t count, int64_t *room);
const double *pra__lua_list_numbers(lua_State *L, const pra__lua_list *list, size_t start,
                                    size_t count, double *room);
/* The labels in the table at index (absolute), sorted, in few or in a userdata that is pushed;
 * their strings are the table's. Pushes one value. Raises. */
pra_label *pra__lua_labels_get(lua_State *L, int index, pra_label *few, size_t *count);

void pra__lua_labels_sort(pra_label *labels, size_t count);

#endif /* PRA_THUNK_LUA_H */
