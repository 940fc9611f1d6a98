/* SPDX-License-Identifier: Apache-2.0 */
#include "thunk_python.h"

#include <string.h>

PyObject *pra__py_error;
PyObject *pra__py_sink_error;
PyObject *pra__py_expired_error;

/* ---- errors */

void pra__py_raise(const pra_error *err)
{
    PyObject *args = Py_BuildValue("(isiK)", err->code, err->message, err->http_status,
                                   (unsigned long long)err->offset);
    if (args) {
        PyErr_SetObject(pra__py_error, args);
    }
    Py_XDECREF(args);
}

PyObject *pra__py_raise_code(int code, pra_error *err)
{
    if (err->code == 0) {
        (void)pra_error_set_cstr(err, code, pra_strerror(code));
    }
    pra__py_raise(err);
    return NULL;
}

/* ---- the storage */

typedef struct thunk {
    pra_storage_vtbl vtbl;
    pra_limits limits;
    PyObject *adapter;
} thunk;

static int outcome_apply(PyObject *outcome, pra_error *err, int *code)
{
    int http_status;
    unsigned retry_after;
    const char *message;
    Py_ssize_t len;
    if (!PyArg_ParseTuple(outcome, "iis#I", code, &http_status, &message, &len, &retry_after)) {
        return -1;
    }
    if (*code) {
        (void)pra_error_set(err, *code, (pra_str){message, (size_t)len});
    }
    if (http_status && err) {
        err->http_status = http_status;
    }
    if (retry_after && err) {
        err->retry_after_s = retry_after;
    }
    return 0;
}

static const pra_limits *limits_of(const thunk *t)
{
    return &t->limits;
}

void pra__py_storage_limit(const pra_storage *storage, const pra_limits *limits)
{
    if (limits) {
        ((thunk *)storage->self)->limits = *limits;
    }
}

/* What the adapter said: (code, http_status, message, retry_after). It passes on only what is no
 * Exception (SystemExit), or fails for want of memory: here is nobody to raise to. Takes outcome,
 * which may be NULL. */
static int conclude(PyObject *outcome, pra_error *err)
{
    int code;
    if (!outcome || outcome_apply(outcome, err, &code)) {
        PyErr_WriteUnraisable(pra__py_error);
        code = pra_error_set_cstr(err, PRA_ERR_USER, "the storage was interrupted");
    }
    Py_XDECREF(outcome);
    return code;
}

/* Calls a method of the adapter with objects that live as long as the call. Takes first, second
 * and third, any of which may be NULL: an exception stands, or (third) there is none. */
static PyObject *call_adapter(const thunk *t, const char *method, PyObject *first, PyObject *second,
                              PyObject *third, int count)
{
    PyObject *outcome = NULL;
    if (first && second && (third || count < 3)) {
        outcome = count < 3 ? PyObject_CallMethod(t->adapter, method, "OO", first, second)
                            : PyObject_CallMethod(t->adapter, method, "OOO", first, second, third);
    }
    Py_XDECREF(first);
    Py_XDECREF(second);
    Py_XDECREF(third);
    return outcome;
}

static int close_scope(pra__py_scope *scope, PyObject *outcome, pra_error *err)
{
    int code = conclude(outcome, err);
    if (scope) {
        pra__py_scope_close(scope);
        Py_DECREF(scope);
    }
    return code;
}

static int storage_write(void *self, const pra_context *ctx, const pra_write_request *request,
                         pra_write_result *result, pra_error *err)
{
    PyGILState_STATE gil = PyGILState_Ensure();
    PyObject *outcome = NULL;
    pra__py_scope *scope = pra__py_scope_new();
    if (scope) {
        outcome = call_adapter(self, "write", pra__py_context_new(scope, ctx),
                               pra__py_write_request_new(scope, request, result), NULL, 2);
    }
    int code = close_scope(scope, outcome, err);
    PyGILState_Release(gil);
    return code;
}

static int storage_process_query(void *self, const pra_context *ctx, const pra_query *query,
                                 pra_series_sink *sink, pra_error *err)
{
    PyGILState_STATE gil = PyGILState_Ensure();
    PyObject *outcome = NULL;
    pra__py_scope *scope = pra__py_scope_new();
    if (scope) {
        outcome = call_adapter(self, "process_query", pra__py_context_new(scope, ctx),
                               pra__py_query_new(scope, query),
                               pra__py_sink_new(scope, sink, limits_of(self)), 3);
    }
    int code = close_scope(scope, outcome, err);
    PyGILState_Release(gil);
    return code;
}

/* The sinks of a driven read, or (sinks NULL) those of a stepped exchange. */
static PyObject *sinks_tuple(pra__py_scope *scope, pra_series_sink *const *sinks, pra_exchange *x,
                             size_t count, const pra_limits *limits)
{
    PyObject *tuple = PyTuple_New((Py_ssize_t)count);
    for (size_t i = 0; tuple && i < count; i++) {
        PyObject *sink =
            pra__py_sink_new(scope, sinks ? sinks[i] : pra_exchange_sink(x, i), limits);
        if (sink) {
            PyTuple_SET_ITEM(tuple, (Py_ssize_t)i, sink);
        } else {
            Py_CLEAR(tuple);
        }
    }
    return tuple;
}

static int storage_read(void *self, const pra_context *ctx, const pra_read_request *request,
                        pra_series_sink *const *sinks, pra_error *err)
{
    PyGILState_STATE gil = PyGILState_Ensure();
    PyObject *outcome = NULL;
    pra__py_scope *scope = pra__py_scope_new();
    if (scope) {
        outcome = call_adapter(
            self, "read", pra__py_context_new(scope, ctx), pra__py_queries_new(scope, request),
            sinks_tuple(scope, sinks, NULL, pra_read_request_query_count(request), limits_of(self)),
            3);
    }
    int code = close_scope(scope, outcome, err);
    PyGILState_Release(gil);
    return code;
}

/* ---- answers that are made while the reader takes them */

/* What is kept between the calls of one query, whatever thread they come on. */
typedef struct state {
    pra__py_scope *scope; /* of context and query, which the storage may use until the end */
    PyObject *cursor;
    PyObject *context;
    PyObject *query;
    PyThreadState *pinned; /* NULL: none */
} state;

/* A thread of the C library has a Python thread only while it is in a callback. Making one takes
 * longer than most callbacks, and there is one for each series of an answer: so the query keeps
 * that of the thread it begins on. */
static void pin(state *s)
{
    (void)PyGILState_Ensure();
    s->pinned = PyGILState_GetThisThreadState();
}

/* On another thread nothing may be done: what is pinned goes with the interpreter. */
static void unpin(const PyThreadState *pinned)
{
    if (pinned && pinned == PyGILState_GetThisThreadState()) {
        PyGILState_Release(PyGILState_LOCKED);
    }
}

/* Before PyGILState_Ensure: whether this is a thread that Python does not know. */
static int is_foreign(void)
{
    return PyGILState_GetThisThreadState() == NULL;
}

static void state_free(state *s)
{
    if (s->scope) {
        pra__py_scope_close(s->scope);
    }
    Py_XDECREF(s->cursor);
    Py_XDECREF(s->context);
    Py_XDECREF(s->query);
    Py_XDECREF(s->scope);
    PyMem_Free(s);
}

static state *state_new(const thunk *t, const pra_context *ctx, const pra_query *query)
{
    state *s = PyMem_Calloc(1, sizeof *s);
    if (!s) {
        PyErr_NoMemory();
        return NULL;
    }
    if ((s->scope = pra__py_scope_new()) && (s->context = pra__py_context_new(s->scope, ctx)) &&
        (s->query = pra__py_query_new(s->scope, query))) {
        s->cursor = PyObject_CallMethod(t->adapter, "cursor", "OO", s->context, s->query);
    }
    if (!s->cursor) {
        state_free(s);
        return NULL;
    }
    return s;
}

/* The cursor of the query, borrowed, made when it is first asked for; NULL with an exception. */
static PyObject *cursor_of(const thunk *t, const pra_context *ctx, const pra_query *query,
                           int foreign)
{
    void **place = pra_query_state(query);
    if (!*place && (*place = state_new(t, ctx, query)) && foreign) {
        pin(*place);
    }
    return *place ? ((state *)*place)->cursor : NULL;
}

static int storage_next(void *self, const pra_context *ctx, const pra_query *query,
                        pra_series_sink *sink, pra_error *err)
{
    const int foreign = is_foreign();
    PyGILState_STATE gil = PyGILState_Ensure();
    pra__py_scope *scope = pra__py_scope_new();
    PyObject *target = scope ? pra__py_sink_new(scope, sink, limits_of(self)) : NULL;
    PyObject *cursor = target ? cursor_of(self, ctx, query, foreign) : NULL;
    PyObject *outcome = cursor ? PyObject_CallMethod(cursor, "next", "O", target) : NULL;
    Py_XDECREF(target);
    int code = close_scope(scope, outcome, err);
    PyGILState_Release(gil);
    return code;
}

static int storage_select(void *self, const pra_context *ctx, const pra_query *query,
                          pra_series_list *list, pra_error *err)
{
    const int foreign = is_foreign();
    PyGILState_STATE gil = PyGILState_Ensure();
    pra__py_scope *scope = pra__py_scope_new();
    PyObject *target = scope ? pra__py_list_new(scope, list) : NULL;
    PyObject *cursor = target ? cursor_of(self, ctx, query, foreign) : NULL;
    PyObject *outcome = cursor ? PyObject_CallMethod(cursor, "select", "O", target) : NULL;
    Py_XDECREF(target);
    int code = close_scope(scope, outcome, err);
    PyGILState_Release(gil);
    return code;
}

static int storage_fetch(void *self, const pra_context *ctx, const pra_query *query, uint64_t id,
                         int64_t from_ms, pra_series_sink *sink, pra_error *err)
{
    const int foreign = is_foreign();
    PyGILState_STATE gil = PyGILState_Ensure();
    pra__py_scope *scope = pra__py_scope_new();
    PyObject *target = scope ? pra__py_sink_new(scope, sink, limits_of(self)) : NULL;
    PyObject *cursor = target ? cursor_of(self, ctx, query, foreign) : NULL;
    PyObject *outcome = NULL;
    if (cursor) {
        outcome = PyObject_CallMethod(cursor, "fetch", "KLO", (unsigned long long)id,
                                      (long long)from_ms, target);
    }
    Py_XDECREF(target);
    int code = close_scope(scope, outcome, err);
    PyGILState_Release(gil);
    return code;
}

/* Comes on any thread, also from within the deallocation of an exchange while an exception is on
 * its way. First the cursor, whose generator may still use context and query, then these. */
static void storage_release(void *self, void *kept)
{
    state *s = kept;
    PyObject *type, *value, *traceback;
    (void)self;
    PyGILState_STATE gil = PyGILState_Ensure();
    PyErr_Fetch(&type, &value, &traceback);
    PyObject *result = PyObject_CallMethod(s->cursor, "close", NULL);
    if (!result) {
        PyErr_WriteUnraisable(pra__py_error);
    }
    Py_XDECREF(result);
    const PyThreadState *pinned = s->pinned;
    state_free(s);
    PyErr_Restore(type, value, traceback);
    unpin(pinned);
    PyGILState_Release(gil);
}

static void storage_destroy(void *self)
{
    thunk *t = self;
    PyGILState_STATE gil = PyGILState_Ensure();
    Py_DECREF(t->adapter);
    PyMem_Free(t);
    PyGILState_Release(gil);
}

/* ---- the vtable */

enum { WRITES = 1, QUERIES = 2, READS = 4, CURSORS = 8, SELECTS = 16 };

/* Which entries the adapter has; -1 with an exception. */
static int find_entries(PyObject *adapter)
{
    static const char *const names[] = {"write", "process_query", "read", "cursor", "select"};
    PyObject *entries = PyObject_GetAttrString(adapter, "entries");
    int found = entries ? 0 : -1;
    for (int i = 0; found >= 0 && i < (int)(sizeof names / sizeof *names); i++) {
        PyObject *name = PyUnicode_FromString(names[i]);
        int has = name ? PySequence_Contains(entries, name) : -1;
        Py_XDECREF(name);
        found = has < 0 ? -1 : found | has << i;
    }
    Py_XDECREF(entries);
    return found;
}

static void fill_vtbl(pra_storage_vtbl *vtbl, int entries, uint32_t flags)
{
    const int ordered = (flags & PRA_STORAGE_ORDERED) && (entries & CURSORS);
    *vtbl = (pra_storage_vtbl){.size = sizeof *vtbl,
                               .flags = flags,
                               .destroy = storage_destroy,
                               .release = storage_release};
    if (!ordered) {
        vtbl->flags &= ~(uint32_t)PRA_STORAGE_ORDERED;
    }
    vtbl->write = entries & WRITES ? storage_write : NULL;
    vtbl->read = entries & READS ? storage_read : NULL;
    if (entries & QUERIES) {
        vtbl->process_query = ordered ? storage_next : storage_process_query;
    }
    if ((entries & SELECTS) && (entries & CURSORS)) {
        vtbl->select = storage_select;
        vtbl->fetch = storage_fetch;
    }
}

int pra__py_storage(PyObject *adapter, pra_storage *out)
{
    int entries = find_entries(adapter);
    PyObject *flags = entries < 0 ? NULL : PyObject_GetAttrString(adapter, "flags");
    unsigned long bits = flags ? PyLong_AsUnsignedLong(flags) : 0;
    Py_XDECREF(flags);
    if (PyErr_Occurred()) {
        return -1;
    }
    thunk *t = PyMem_Calloc(1, sizeof *t);
    if (!t) {
        PyErr_NoMemory();
        return -1;
    }
    fill_vtbl(&t->vtbl, entries, (uint32_t)bits);
    t->limits.size = sizeof t->limits;
    t->adapter = Py_NewRef(adapter);
    *out = (pra_storage){&t->vtbl, t};
    return 0;
}

/* ---- a stepped exchange */

static PyObject *open_with(pra__py_scope *scope, pra_exchange *x)
{
    const pra_write_request *write = pra_exchange_write_request(x);
    const pra_read_request *read = pra_exchange_read_request(x);
    if (!write && !read) {
        PyErr_SetString(PyExc_RuntimeError, "the exchange does not ask for the storage");
        return NULL;
    }
    PyObject *context = pra__py_context_new(scope, pra_exchange_context(x));
    PyObject *request = write
                            ? pra__py_write_request_new(scope, write, pra_exchange_write_result(x))
                            : pra__py_queries_new(scope, read);
    PyObject *sinks =
        sinks_tuple(scope, NULL, x, read ? pra_read_request_query_count(read) : 0, NULL);
    PyObject *opened = NULL;
    if (context && request && sinks) {
        opened = PyTuple_Pack(4, scope, context, request, sinks);
    }
    Py_XDECREF(context);
    Py_XDECREF(request);
    Py_XDECREF(sinks);
    return opened;
}

PyObject *pra__py_open(pra_exchange *x)
{
    pra__py_scope *scope = pra__py_scope_new();
    PyObject *opened = scope ? open_with(scope, x) : NULL;
    Py_XDECREF(scope);
    return opened;
}

/* ---- the log */

static void log_line(void *ctx, int32_t level, const char *fields_cstr)
{
    PyGILState_STATE gil = PyGILState_Ensure();
    PyObject *fields =
        PyUnicode_DecodeUTF8(fields_cstr, (Py_ssize_t)strlen(fields_cstr), "backslashreplace");
    PyObject *result = fields ? PyObject_CallFunction(ctx, "iO", level, fields) : NULL;
    if (!result) {
        PyErr_WriteUnraisable(ctx);
    }
    Py_XDECREF(fields);
    Py_XDECREF(result);
    PyGILState_Release(gil);
}

pra_log pra__py_log(PyObject *callable)
{
    return callable == Py_None ? (pra_log){NULL, NULL} : (pra_log){callable, log_line};
}

/* ---- the module */

static int find_exceptions(void)
{
    static const struct exception {
        PyObject **place;
        const char *name;
    } all[] = {{&pra__py_error, "Error"},
               {&pra__py_sink_error, "SinkError"},
               {&pra__py_expired_error, "ExpiredError"}};
    PyObject *module = PyImport_ImportModule("prom_remote_api._errors");
    int code = module ? 0 : -1;
    for (size_t i = 0; !code && i < sizeof all / sizeof *all; i++) {
        if (!*all[i].place) { /* once a process */
            *all[i].place = PyObject_GetAttrString(module, all[i].name);
        }
        code = *all[i].place ? 0 : -1;
    }
    Py_XDECREF(module);
    return code;
}

PyObject *pra__py_check_interpreter(void)
{
    if (PyInterpreterState_Get() != PyInterpreterState_Main()) {
        PyErr_SetString(PyExc_ImportError, "prom_remote_api works in the main interpreter only");
        return NULL;
    }
    Py_RETURN_NONE;
}

int pra__py_init(PyObject *module)
{
    return find_exceptions() || pra__py_scope_init(module) || pra__py_histogram_init(module) ||
                   pra__py_write_init(module) || pra__py_read_init(module) ||
                   pra__py_sink_init(module)
               ? -1
               : 0;
}
