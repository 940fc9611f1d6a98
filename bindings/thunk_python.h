/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Python side of the storage trait, in plain C over the CPython API. The package
 * prom_remote_api sits on top: it gives an adapter object (python/prom_remote_api/_adapter.py)
 * whose methods take the objects made here and say what became of a call.
 *
 * Memory of Python objects comes from Python; nothing here keeps memory of its own beside it.
 * All functions want the GIL unless they say otherwise.
 */
#ifndef PRA_THUNK_PYTHON_H
#define PRA_THUNK_PYTHON_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "pra.h"
#include "pra_server.h"

#if defined PRA_PY_FAULTS && !defined SWIGPYTHON /* that is the file SWIG writes */
#include "python_faults.h"
#endif

/* ---- thunk_python.c: callbacks and errors */

/* Adds types and exceptions to the extension module. Returns 0, or -1 with an exception. */
int pra__py_init(PyObject *module);
/* Raises ImportError in any interpreter but the main one: callbacks come with PyGILState, which
 * knows no other. */
PyObject *pra__py_check_interpreter(void);
/* A storage over adapter: a reference to it, and a vtable with the entries whose names are in its
 * attribute `entries` and the flags (PRA_STORAGE_...) in its attribute `flags`. Its method cursor
 * gives an object per query that is answered piece by piece (select and fetch; process_query with
 * PRA_STORAGE_ORDERED), with the methods next, select, fetch and close. Returns 0, or -1 with an
 * exception. */
int pra__py_storage(PyObject *adapter, pra_storage *out);
/* The limits of its handler, before that is made; NULL = defaults. */
void pra__py_storage_limit(const pra_storage *storage, const pra_limits *limits);
/* A log that calls callable(level, fields); borrowed. None: no log. */
pra_log pra__py_log(PyObject *callable);
/* Raises prom_remote_api.Error from err. */
void pra__py_raise(const pra_error *err);
/* Fills out (its size is set) from what hosts take as `limits`: a mapping of names, or None.
 * Returns 0, or -1 with an exception. In pra_python.i. */
int pra__py_limits(PyObject *mapping, pra_limits *out);
/* The same from a code that a function returned, where err has nothing. Returns NULL. */
PyObject *pra__py_raise_code(int code, pra_error *err);
/* Like a callback, for a stepped exchange that asks for the storage: returns new
 * (scope, context, request, sinks). End with scope.close() before the exchange goes on. */
PyObject *pra__py_open(pra_exchange *x);

/* The exceptions of prom_remote_api._errors. */
extern PyObject *pra__py_error;
extern PyObject *pra__py_sink_error;
extern PyObject *pra__py_expired_error;

/* ---- thunk_python_scope.c: how long objects of a call may be used */

/* One call of a storage. Every object that points into C memory holds its scope. */
typedef struct pra__py_scope pra__py_scope;

pra__py_scope *pra__py_scope_new(void);
/* Returns 0 and keeps the memory until leave; or -1 with ExpiredError when the call is over. */
int pra__py_scope_enter(pra__py_scope *scope);
void pra__py_scope_leave(pra__py_scope *scope);
/* From now on enter fails. Waits for other threads that are inside. */
void pra__py_scope_close(pra__py_scope *scope);
int pra__py_scope_init(PyObject *module);

/* ---- thunk_python_text.c: strings */

/* Text of UTF-8 bytes (others become surrogate escapes). Returns new. The same bytes again often
 * give the same object. */
PyObject *pra__py_text(const char *ptr, size_t len);
PyObject *pra__py_str(pra_str str);
/* Fills out with the UTF-8 bytes of a str object, which keeps them. Returns 0, or -1 with an
 * exception. */
int pra__py_utf8(PyObject *object, pra_str *out);

/* Labels of a dict or another mapping, as the C functions want them. */
typedef struct pra__py_labels {
    pra_label *items;
    size_t count;
    size_t cap;
    PyObject *keep; /* what holds the strings of a mapping that is not a dict */
} pra__py_labels;

/* Replaces what labels holds; the strings live as long as mapping is not changed. Returns 0, or -1
 * with an exception. */
int pra__py_labels_set(pra__py_labels *labels, PyObject *mapping);
void pra__py_labels_fini(pra__py_labels *labels);

/* ---- thunk_python_histogram.c: native histograms */

/* Elements of a column that grows. */
typedef struct pra__py_vector {
    void *data;
    size_t count;
    size_t cap;
} pra__py_vector;

/* Histograms on their way into columns. Zeroed: none. */
typedef struct pra__py_histograms {
    pra__py_vector histograms;
    pra__py_vector positive_spans;
    pra__py_vector negative_spans;
    pra__py_vector positive_deltas;
    pra__py_vector negative_deltas;
    pra__py_vector positive_counts;
    pra__py_vector negative_counts;
    pra__py_vector custom_values;
} pra__py_histograms;

/* A list of Histogram objects, of histograms [start, start + count) of columns. */
PyObject *pra__py_histograms_list(const pra_columns *columns, size_t start, size_t count);
int pra__py_is_histogram(PyObject *object);
/* Adds a Histogram object. Returns 0, or -1 with an exception. */
int pra__py_histograms_push(pra__py_histograms *all, PyObject *object);
/* Valid until the next push, clear or fini. Has no series. */
void pra__py_histograms_columns(const pra__py_histograms *all, pra_columns *out);
void pra__py_histograms_clear(pra__py_histograms *all);
void pra__py_histograms_fini(pra__py_histograms *all);
int pra__py_histogram_init(PyObject *module);

/* ---- thunk_python_context.c, thunk_python_request.c (thunk_python_write.h), thunk_python_read.c:
 * views; thunk_python_sink.c: results */

PyObject *pra__py_context_new(pra__py_scope *scope, const pra_context *ctx);
int pra__py_context_init(PyObject *module);
PyObject *pra__py_write_request_new(pra__py_scope *scope, const pra_write_request *request,
                                    pra_write_result *result);
PyObject *pra__py_query_new(pra__py_scope *scope, const pra_query *query);
/* A tuple of all queries. */
PyObject *pra__py_queries_new(pra__py_scope *scope, const pra_read_request *request);
/* limits: of what tables take on their way into the sink; NULL = defaults; lives as long as scope.
 */
PyObject *pra__py_sink_new(pra__py_scope *scope, pra_series_sink *sink, const pra_limits *limits);
PyObject *pra__py_list_new(pra__py_scope *scope, pra_series_list *list);
int pra__py_write_init(PyObject *module);
int pra__py_response_init(PyObject *module);
int pra__py_read_init(PyObject *module);
int pra__py_sink_init(PyObject *module);

#endif
