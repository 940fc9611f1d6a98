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

/* ---- the storage */

typedef struct thunk {
    pra_storage_vtbl vtbl;
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
                               pra__py_query_new(scope, query), pra__py_sink_new(scope, sink), 3);
    }
    int code = close_scope(scope, outcome, err);
    PyGILState_Release(gil);
    return code;
}

/* The sinks of a driven read, or (sinks NULL) those of a stepped exchange. */
static PyObject *sinks_tuple(pra__py_scope *scope, pra_series_sink *const *sinks, pra_exchange *x,
                             size_t count)
{
    PyObject *tuple = PyTuple_New((Py_ssize_t)count);
    for (size_t i = 0; tuple && i < count; i++) {
        PyObject *sink = pra__py_sink_new(scope, sinks ? sinks[i] : pra_exchange_sink(x, i));
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
            sinks_tuple(scope, sinks, NULL, pra_read_request_query_count(request)), 3);
    }
    int code = close_scope(scope, outcome, err);
    PyGILState_Release(gil);
    return code;
}

static void storage_destroy(void *self)
{
    thunk *t = self;
    PyGILState_STATE gil = PyGILState_Ensure();
    Py_DECREF(t->adapter);
    PyMem_Free(t);
    PyGILState_Release(gil);
}

static int has_entry(PyObject *entries, const char *name)
{
    PyObject *text = PyUnicode_FromString(name);
    int found = text ? PySequence_Contains(entries, text) : -1;
    Py_XDECREF(text);
    return found;
}

int pra__py_storage(PyObject *adapter, pra_storage *out)
{
    PyObject *entries = PyObject_GetAttrString(adapter, "entries");
    int writes = entries ? has_entry(entries, "write") : -1;
    int queries = entries ? has_entry(entries, "process_query") : -1;
    int reads = entries ? has_entry(entries, "read") : -1;
    Py_XDECREF(entries);
    PyObject *flags = reads < 0 ? NULL : PyObject_GetAttrString(adapter, "flags");
    unsigned long bits = flags ? PyLong_AsUnsignedLong(flags) : 0;
    Py_XDECREF(flags);
    if (PyErr_Occurred() || writes < 0 || queries < 0 || reads < 0) {
        return -1;
    }
    thunk *t = PyMem_Calloc(1, sizeof *t);
    if (!t) {
        PyErr_NoMemory();
        return -1;
    }
    t->vtbl = (pra_storage_vtbl){
        .size = sizeof t->vtbl, .flags = (uint32_t)bits, .destroy = storage_destroy};
    t->vtbl.write = writes ? storage_write : NULL;
    t->vtbl.process_query = queries ? storage_process_query : NULL;
    t->vtbl.read = reads ? storage_read : NULL;
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
    PyObject *sinks = sinks_tuple(scope, NULL, x, read ? pra_read_request_query_count(read) : 0);
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
    PyObject *module = PyImport_ImportModule("prom_remote_api._errors");
    if (module && !pra__py_error) {
        pra__py_error = PyObject_GetAttrString(module, "Error");
        pra__py_sink_error = PyObject_GetAttrString(module, "SinkError");
        pra__py_expired_error = PyObject_GetAttrString(module, "ExpiredError");
    }
    Py_XDECREF(module);
    return pra__py_error && pra__py_sink_error && pra__py_expired_error ? 0 : -1;
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
