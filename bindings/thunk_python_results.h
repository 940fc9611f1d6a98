/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a storage gives back, on its way into a sink: numbers from buffers, Arrow arrays and
 * iterables; series made of them. Between the files thunk_python_{numbers,arrow,fill,sink,feed}.c.
 * All functions want the GIL.
 */
#ifndef PRA_THUNK_PYTHON_RESULTS_H
#define PRA_THUNK_PYTHON_RESULTS_H

#include "thunk_python.h"

#include "pra_arrow.h"

/* ---- thunk_python_numbers.c: a column */

/* A column of int64_t (timestamps in ms) or double (values): borrowed from a buffer, or converted
 * into memory of ours. Zeroed: empty. */
typedef struct pra__py_numbers {
    const void *data;
    size_t count;
    void *memory;
    size_t cap;
    Py_buffer buffer; /* obj NULL: none */
} pra__py_numbers;

enum pra__py_kind { PRA__PY_TIMESTAMPS, PRA__PY_VALUES };

/* Elements of one kind in memory, on their way into a column. */
typedef struct pra__py_elements {
    const char *data;
    size_t count;
    ptrdiff_t stride;
    size_t size;
    char kind;    /* 'i', 'u' or 'f' */
    int64_t up;   /* milliseconds per unit, */
    int64_t down; /* or units per millisecond; both 0: plain numbers */
} pra__py_elements;

/* Replaces what is there by what object has: any buffer of numbers, any Arrow array or stream of
 * them, an array of datetime64, or an iterable. Returns 0, or -1 with an exception. */
int pra__py_numbers_fill(pra__py_numbers *n, PyObject *object, enum pra__py_kind column);
/* Adds one. Only to a column that was cleared, not filled. */
int pra__py_numbers_push(pra__py_numbers *n, PyObject *object, enum pra__py_kind column);
int pra__py_numbers_append(pra__py_numbers *n, const pra__py_elements *elements,
                           enum pra__py_kind column);
/* Empties it, keeps the memory. */
void pra__py_numbers_clear(pra__py_numbers *n);
void pra__py_numbers_fini(pra__py_numbers *n);
/* "s", "ms", "us", "ns" and longer units. Returns 0, or -1 without an exception. */
int pra__py_unit(const char *name, size_t len, pra__py_elements *out);

/* ---- thunk_python_arrow.c: exporters of Arrow data */

/* What object.__arrow_c_stream__() gives: new, or NULL with an exception, or (it is no exporter, or
 * one without the package that it needs) NULL without. *out lives as long as the result. */
PyObject *pra__py_arrow_stream(PyObject *object, struct ArrowArrayStream **out);
/* Fills a cleared column from an exporter. Returns 1; 0: object is none; -1 with an exception. */
int pra__py_arrow_fill(pra__py_numbers *n, PyObject *object, enum pra__py_kind column);

/* ---- thunk_python_fill.c: series */

/* What is kept from one series to the next. Zeroed, but for sink and limits. */
typedef struct pra__py_filler {
    pra_series_sink *sink;
    const pra_limits *limits; /* NULL = defaults */
    pra__py_labels labels;
    pra__py_numbers timestamps;
    pra__py_numbers values;
    pra__py_histograms histograms;
} pra__py_filler;

/* Adds (labels, samples) or (labels, timestamps, values[, histograms]), or all that an exporter of
 * an Arrow stream has. Returns PRA_OK, PRA_DONE (the sink has enough), -1 with an exception. */
int pra__py_fill_item(pra__py_filler *f, PyObject *item);
/* Of an iterable, until the sink has enough; likewise. */
int pra__py_fill_all(pra__py_filler *f, PyObject *iterable);
void pra__py_filler_fini(pra__py_filler *f);

/* One sample (a pair) or Histogram into columns. Returns 0, or -1 with an exception. */
int pra__py_push_sample(pra__py_numbers *timestamps, pra__py_numbers *values,
                        pra__py_histograms *histograms, PyObject *sample);
/* Columns of one series; histograms NULL: none. Likewise. */
int pra__py_fill_columns(pra__py_numbers *timestamps, pra__py_numbers *values,
                         pra__py_histograms *all, PyObject *const *columns);
/* Raises what a failure of a sink or list means. Returns -1. */
int pra__py_sink_failed(int code, const pra_error *err);

/* ---- thunk_python_sink.c */

/* The C sink of a Sink object while its request lasts, for one user at a time; NULL with an
 * exception. */
pra_series_sink *pra__py_sink_enter(PyObject *sink);
void pra__py_sink_leave(PyObject *sink);

/* ---- thunk_python_feed.c */

int pra__py_feed_init(PyObject *module);

#endif
