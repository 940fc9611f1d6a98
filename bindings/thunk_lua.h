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

/* ---- thunk_lua.c: the storage */

/*
 * Makes a storage of the options table at index: field storage, a table with functions write,
 * process_query, read; field log, a function that takes the text of a script error (default:
 * log, or standard error where log is NULL). The Lua objects stay alive until out's destroy.
 * May raise, and then nothing is kept.
 */
void pra__lua_storage_new(lua_State *L, int index, const pra__lua_log *log, pra_storage *out);

/* Callbacks may run on L, which belongs to the calling thread, until leave; returns what leave
 * takes. Calls nest. Do not raise. */
lua_State *pra__lua_enter(lua_State *L);
void pra__lua_leave(lua_State *L, lua_State *previous);

/* Runs the server until SIGINT or SIGTERM, then stops it. Returns the signal's number, or a
 * PRA_ERR_ code. Does not raise. */
int pra__lua_serve(lua_State *L, pra_server *server, uint32_t grace_ms, pra_error *err);

/* Registers the metatables, and the functions of thunk_lua.c and its sisters in the table on top of
 * the stack. May raise. */
void pra__lua_open(lua_State *L);

/* ---- lua_views.c: what a storage function is handed */

/* The object behind a userdata that lives as long as one callback. */
typedef struct pra__lua_view {
    const void *object;         /* NULL when the callback is over */
    void *output;               /* request: pra_write_result */
    struct pra__lua_view *next; /* of the same callback */
} pra__lua_view;

/* Pushes a view and puts it into the list. May raise. */
void pra__lua_view_push(lua_State *L, const char *type, const void *object, void *output,
                        pra__lua_view **list);
/* The view at index; raises if it is of another type or over. */
pra__lua_view *pra__lua_view_check(lua_State *L, int index, const char *type);
void pra__lua_views_register(lua_State *L);
/* Adds the series table on top of the stack to the sink and pops it; raises. */
void pra__lua_sink_add(lua_State *L, pra_series_sink *sink);

/* ---- lua_histogram.c: native histograms */

/* One histogram as columns of its own. */
typedef struct pra__lua_histogram {
    pra_histogram histogram;
    pra_columns columns; /* without series */
} pra__lua_histogram;

/* Pushes a table. May raise. */
void pra__lua_histogram_push(lua_State *L, const pra_columns *columns, const pra_histogram *h);
/* Fills out from the table at index (absolute), leaving on the stack what out points into. Raises.
 */
void pra__lua_histogram_fill(lua_State *L, int index, pra__lua_histogram *out);
/* Sets functions in the table on top of the stack. May raise. */
void pra__lua_histogram_register(lua_State *L);

/* ---- lua_series.c: tables from columns and back */

/* The iterator function of the request view at index 1, for the generic for. */
int pra__lua_request_series(lua_State *L);
/* Push a list. May raise. */
void pra__lua_push_integers(lua_State *L, const int64_t *items, size_t count);
void pra__lua_push_numbers(lua_State *L, const double *items, size_t count);
/* Pushes the string, or a string of length 0. */
void pra__lua_push_str(lua_State *L, pra_str str);
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

#endif /* PRA_THUNK_LUA_H */
