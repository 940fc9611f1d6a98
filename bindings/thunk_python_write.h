/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a storage's write is given, and how long it lives.
 *
 * A request object belongs to a call (it has a scope) or is kept (it has none). Both look into a
 * memory, which is the exchange's while the call lasts, and from its end on a share of our own, if
 * anything still looks into it then.
 */
#ifndef PRA_THUNK_PYTHON_WRITE_H
#define PRA_THUNK_PYTHON_WRITE_H

#include "thunk_python.h"

/* ---- thunk_python_columns.c: memory, and views into it */

struct pra__py_column;

typedef struct pra__py_memory {
    PyObject_HEAD pra_write_request *request;
    int is_own; /* request is a share, given back when the memory goes */
    int32_t version;
    pra_columns columns;
    PyObject **symbols;          /* one str for each symbol of 2.0, made when first used */
    PyObject *fingerprints;      /* bytes, made when first asked for */
    struct pra__py_column *lent; /* what looks into it, until the call is over */
} pra__py_memory;

/* Memory of a request that is somebody else's until pra__py_memory_end, or (is_own) a share, which
 * is taken also on failure. Returns new, or NULL with an exception. */
pra__py_memory *pra__py_memory_new(const pra_write_request *request, int is_own);
/* The call is over: ends the memoryviews that were lent. What still looks into the memory then has
 * a share of it. */
void pra__py_memory_end(pra__py_memory *memory);
/* scope, which has none yet, ends memory when it closes. */
void pra__py_scope_hold(pra__py_scope *scope, pra__py_memory *memory);
/* Takes a share, if there is none. */
void pra__py_memory_keep(pra__py_memory *memory);

/* An empty request with room for another message, to be given back; or NULL. */
pra_write_request *pra__py_memory_idle(void);
/* Gives a share back. */
void pra__py_memory_give(pra_write_request *request);

/* A column of pra_columns as Python sees it. */
typedef struct pra__py_field {
    size_t data;  /* offsets in pra_columns */
    size_t count; /* likewise; of the elements or, as extra says, one less */
    size_t extra;
    const char *format; /* as in struct */
    Py_ssize_t itemsize;
    Py_ssize_t width;  /* of a row; 0: no rows */
    int may_be_absent; /* None where the pointer is NULL */
} pra__py_field;

extern const pra__py_field pra__py_timestamps, pra__py_values, pra__py_starts;

/* A memoryview of elements [start, start + count) of a column; with a scope one that ends with the
 * call. NULL with an exception. */
PyObject *pra__py_column_view(pra__py_memory *memory, int has_scope, const pra__py_field *field,
                              size_t start, size_t count);
/* Likewise of all elements. */
PyObject *pra__py_column_all(pra__py_memory *memory, int has_scope, const pra__py_field *field);
int pra__py_columns_init(PyObject *module);

/* ---- thunk_python_request.c */

typedef struct pra__py_request {
    PyObject_HEAD pra__py_scope *scope; /* NULL: kept */
    pra_write_result *result;           /* NULL: kept */
    pra__py_memory *memory;
} pra__py_request;

/* As the functions of the scope. */
int pra__py_request_enter(const pra__py_request *request);
void pra__py_request_leave(const pra__py_request *request);
int pra__py_request_init(PyObject *module);

/* ---- thunk_python_series.c */

PyObject *pra__py_series_new(pra__py_request *request, size_t index);
/* A list of the labels of all series. */
PyObject *pra__py_labels_list(pra__py_memory *memory);
int pra__py_series_init(PyObject *module);

/* ---- thunk_python_table.c, thunk_python_metadata.c */

/* number: PRA_ARROW_... */
PyObject *pra__py_table_new(pra__py_request *request, int32_t number);
int pra__py_table_init(PyObject *module);

/* Entry number index of the metadata. */
PyObject *pra__py_metadata_entry(const pra_columns *columns, size_t index);
int pra__py_metadata_init(PyObject *module);

#endif
