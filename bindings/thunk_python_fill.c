/* SPDX-License-Identifier: Apache-2.0 */
/* From what a storage gives to the C sink: series as (labels, samples), (labels, timestamps,
 * values[, histograms]), or tables of them as Arrow streams. */
#include "thunk_python_results.h"

/* ---- columns */

static int fill_histograms(pra__py_histograms *all, PyObject *histograms)
{
    PyObject *iterator = PyObject_GetIter(histograms);
    PyObject *item;
    int code = iterator ? 0 : -1;
    while (!code && (item = PyIter_Next(iterator))) {
        code = pra__py_histograms_push(all, item);
        Py_DECREF(item);
    }
    Py_XDECREF(iterator);
    return code || PyErr_Occurred() ? -1 : 0;
}

int pra__py_fill_columns(pra__py_numbers *timestamps, pra__py_numbers *values,
                         pra__py_histograms *all, PyObject *const *columns)
{
    if (pra__py_numbers_fill(timestamps, columns[0], PRA__PY_TIMESTAMPS) ||
        pra__py_numbers_fill(values, columns[1], PRA__PY_VALUES)) {
        return -1;
    }
    if (timestamps->count != values->count) {
        PyErr_Format(PyExc_ValueError, "%zu timestamps, but %zu values", timestamps->count,
                     values->count);
        return -1;
    }
    return columns[2] ? fill_histograms(all, columns[2]) : 0;
}

/* ---- samples */

int pra__py_push_sample(pra__py_numbers *timestamps, pra__py_numbers *values,
                        pra__py_histograms *histograms, PyObject *sample)
{
    static const char wanted[] = "a sample must be a pair (timestamp_ms, value) or a Histogram";
    if (!PyTuple_CheckExact(sample) && pra__py_is_histogram(sample)) {
        return pra__py_histograms_push(histograms, sample);
    }
    PyObject *fast = PySequence_Fast(sample, wanted);
    int code = -1;
    if (fast && PySequence_Fast_GET_SIZE(fast) != 2) {
        PyErr_SetString(PyExc_TypeError, wanted);
    } else if (fast) {
        PyObject *timestamp = Py_NewRef(PySequence_Fast_GET_ITEM(fast, 0));
        PyObject *value = Py_NewRef(PySequence_Fast_GET_ITEM(fast, 1));
        code = pra__py_numbers_push(timestamps, timestamp, PRA__PY_TIMESTAMPS) ||
                       pra__py_numbers_push(values, value, PRA__PY_VALUES)
                   ? -1
                   : 0;
        Py_DECREF(timestamp);
        Py_DECREF(value);
    }
    Py_XDECREF(fast);
    return code;
}

static int fill_samples(pra__py_filler *f, PyObject *samples)
{
    PyObject *iterator = PyObject_GetIter(samples);
    PyObject *sample;
    int code = iterator ? 0 : -1;
    while (!code && (sample = PyIter_Next(iterator))) {
        code = pra__py_push_sample(&f->timestamps, &f->values, &f->histograms, sample);
        Py_DECREF(sample);
    }
    Py_XDECREF(iterator);
    return code || PyErr_Occurred() ? -1 : 0;
}

/* ---- a series */

int pra__py_sink_failed(int code, const pra_error *err)
{
    const char *message = err->message[0] ? err->message : pra_strerror(code);
    if (code == PRA_ERR_LABELS || code == PRA_ERR_HISTOGRAM || code == PRA_ERR_CALLBACK ||
        code == PRA_ERR_INVALID_ARG) { /* a mistake of the storage: its exception, its traceback */
        PyErr_SetString(PyExc_ValueError, message);
    } else if (code == PRA_ERR_NOMEM) {
        PyErr_NoMemory();
    } else {
        PyObject *args = Py_BuildValue("(is)", code, message);
        if (args) {
            PyErr_SetObject(pra__py_sink_error, args);
        }
        Py_XDECREF(args);
    }
    return -1;
}

static int add_with_histograms(pra__py_filler *f, pra_error *err)
{
    pra_columns columns;
    pra__py_histograms_columns(&f->histograms, &columns);
    int code = pra_series_sink_begin(f->sink, f->labels.items, f->labels.count, err);
    if (code == PRA_OK) {
        code = pra_series_sink_samples(f->sink, f->timestamps.data, f->values.data,
                                       f->timestamps.count, err);
    }
    if (code == PRA_OK) {
        code = pra_series_sink_histograms(f->sink, &columns, 0, columns.histogram_count, err);
    }
    return code == PRA_OK ? pra_series_sink_end(f->sink, err) : code;
}

static int add_filled(pra__py_filler *f)
{
    pra_error err = {0};
    int code =
        f->histograms.histograms.count
            ? add_with_histograms(f, &err)
            : pra_series_sink_add(f->sink, f->labels.items, f->labels.count, f->timestamps.data,
                                  f->values.data, f->timestamps.count, &err);
    return code < 0 ? pra__py_sink_failed(code, &err) : code;
}

static void clear(pra__py_filler *f)
{
    pra__py_numbers_clear(&f->timestamps);
    pra__py_numbers_clear(&f->values);
    pra__py_histograms_clear(&f->histograms);
}

/* Labels come last: turning samples into columns may run code that changes them. */
static int add_series(pra__py_filler *f, PyObject *const *parts)
{
    int code = parts[2]
                   ? pra__py_fill_columns(&f->timestamps, &f->values, &f->histograms, parts + 1)
                   : fill_samples(f, parts[1]);
    if (code == 0) {
        code = pra__py_labels_set(&f->labels, parts[0]);
    }
    if (code == 0) {
        code = add_filled(f);
    }
    clear(f);
    return code;
}

/* ---- tables */

/* Takes all there is: a stream cannot be taken up in its middle. */
static int add_stream(pra__py_filler *f, struct ArrowArrayStream *stream)
{
    pra_error err = {0};
    int code;
    Py_BEGIN_ALLOW_THREADS; /* its producer may want the GIL on a thread of its own */
    code = pra_arrow_push(stream, f->sink, NULL, f->limits, &err);
    Py_END_ALLOW_THREADS;
    return code < 0 ? pra__py_sink_failed(code, &err) : code;
}

/* Returns PRA_OK or PRA_DONE, -1 with an exception, or 2: object exports no stream. */
static int add_exporter(pra__py_filler *f, PyObject *object)
{
    struct ArrowArrayStream *stream;
    PyObject *capsule = pra__py_arrow_stream(object, &stream);
    if (!capsule) {
        return PyErr_Occurred() ? -1 : 2;
    }
    int code = add_stream(f, stream);
    Py_DECREF(capsule);
    return code;
}

/* ---- anything */

int pra__py_fill_item(pra__py_filler *f, PyObject *item)
{
    PyObject *parts[4] = {NULL};
    const Py_ssize_t count = PyTuple_Check(item) ? PyTuple_GET_SIZE(item) : 0;
    if (count >= 2 && count <= 4) {
        for (Py_ssize_t i = 0; i < count; i++) {
            parts[i] = PyTuple_GET_ITEM(item, i);
        }
        return add_series(f, parts);
    }
    int code = PyTuple_Check(item) ? 2 : add_exporter(f, item);
    if (code == 2) {
        PyErr_Format(PyExc_TypeError,
                     "a series must be (labels, samples) or (labels, timestamps, values"
                     "[, histograms]), not %.80s",
                     Py_TYPE(item)->tp_name);
        code = -1;
    }
    return code;
}

int pra__py_fill_all(pra__py_filler *f, PyObject *iterable)
{
    const int is_plain =
        PyList_CheckExact(iterable) || PyTuple_CheckExact(iterable) || PyGen_CheckExact(iterable);
    int code = is_plain ? 2 : add_exporter(f, iterable);
    if (code != 2) {
        return code < 0 ? code : PRA_OK;
    }
    PyObject *iterator = PyObject_GetIter(iterable);
    PyObject *item;
    code = iterator ? PRA_OK : -1;
    while (code == PRA_OK && (item = PyIter_Next(iterator))) {
        code = pra__py_fill_item(f, item);
        Py_DECREF(item);
    }
    Py_XDECREF(iterator);
    return PyErr_Occurred() ? -1 : code;
}

void pra__py_filler_fini(pra__py_filler *f)
{
    pra__py_labels_fini(&f->labels);
    pra__py_numbers_fini(&f->timestamps);
    pra__py_numbers_fini(&f->values);
    pra__py_histograms_fini(&f->histograms);
}
