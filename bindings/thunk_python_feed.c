/* SPDX-License-Identifier: Apache-2.0 */
/* Feed: the data of one series, in pieces as the sink takes them. */
#include "thunk_python_results.h"

typedef struct feed {
    PyObject_HEAD PyObject *iterator; /* NULL: it has given all */
    PyObject *next;                   /* came out of it, and is to be a piece by itself */
    /* A piece, and how much of it is known to be taken. The sink passes over what it has. */
    pra__py_numbers timestamps;
    pra__py_numbers values;
    pra__py_histograms histograms;
    size_t samples_taken;
    size_t histograms_taken;
    int busy;
} feed;

enum {
    GATHERED = 1024, /* samples that make a piece */
    PUSHED = 8192    /* samples that are pushed at a time: when the sink has enough, these come
                        again */
};

/* ---- pieces of what the storage gives */

/* A pair of numbers; else (timestamps, values[, histograms]). */
static int is_sample(PyObject *item)
{
    if (!PyTuple_Check(item) || PyTuple_GET_SIZE(item) == 0) {
        return 1; /* a Histogram, or a list; what is wrong is said where it is turned into numbers
                   */
    }
    PyObject *first = PyTuple_GET_ITEM(item, 0);
    return PyLong_Check(first) || (PyIndex_Check(first) && !PySequence_Check(first));
}

static int load_piece(feed *f, PyObject *item)
{
    PyObject *columns[3] = {NULL};
    if (!PyArg_ParseTuple(item, "OO|O;a piece must be (timestamps, values[, histograms])",
                          &columns[0], &columns[1], &columns[2])) {
        return -1;
    }
    return pra__py_fill_columns(&f->timestamps, &f->values, &f->histograms, columns);
}

/* The next of what the iterator gives, new; NULL at its end, or with an exception. */
static PyObject *take_next(feed *f)
{
    PyObject *item = f->next;
    f->next = NULL;
    if (!item && f->iterator) {
        item = PyIter_Next(f->iterator);
    }
    if (!item) {
        Py_CLEAR(f->iterator);
    }
    return item;
}

static size_t loaded(const feed *f)
{
    return f->timestamps.count + f->histograms.histograms.count;
}

/* Returns 0 to go on, 1 when the piece is complete, -1 with an exception. */
static int load_item(feed *f, PyObject *item)
{
    if (is_sample(item)) {
        int code = pra__py_push_sample(&f->timestamps, &f->values, &f->histograms, item);
        return code ? code : loaded(f) >= GATHERED;
    }
    if (loaded(f)) {
        f->next = Py_NewRef(item);
        return 1;
    }
    return load_piece(f, item) ? -1 : loaded(f) > 0;
}

static void clear_piece(feed *f)
{
    pra__py_numbers_clear(&f->timestamps);
    pra__py_numbers_clear(&f->values);
    pra__py_histograms_clear(&f->histograms);
    f->samples_taken = f->histograms_taken = 0;
}

/* Returns 0, perhaps with nothing loaded: there is no more; -1 with an exception. */
static int load(feed *f)
{
    PyObject *item;
    int code = 0;
    clear_piece(f);
    while (!code && (item = take_next(f))) {
        code = load_item(f, item);
        Py_DECREF(item);
    }
    if (code < 0 || PyErr_Occurred()) {
        clear_piece(f);
        return -1;
    }
    return 0;
}

/* ---- into the sink */

/* Samples before time `until` that come next, at most PUSHED; all of them if none is before. */
static size_t run_of_samples(const feed *f, int64_t until)
{
    const int64_t *times = (const int64_t *)f->timestamps.data + f->samples_taken;
    size_t left = f->timestamps.count - f->samples_taken;
    size_t count = 0;
    left = left < PUSHED ? left : PUSHED;
    while (count < left && times[count] <= until) {
        count++;
    }
    return count;
}

static size_t run_of_histograms(const feed *f, const pra_columns *columns)
{
    size_t at = f->histograms_taken;
    const int no_samples = f->samples_taken == f->timestamps.count;
    const int64_t until = no_samples ? 0 : ((const int64_t *)f->timestamps.data)[f->samples_taken];
    while (at < columns->histogram_count &&
           (no_samples || columns->histograms[at].timestamp_ms < until)) {
        at++;
    }
    return at - f->histograms_taken;
}

/* Samples and histograms take turns as their times do. Returns what the sink said, PRA_OK when it
 * took all. */
static int push_piece(feed *f, pra_series_sink *target, pra_error *err)
{
    pra_columns columns;
    pra__py_histograms_columns(&f->histograms, &columns);
    while (f->samples_taken < f->timestamps.count ||
           f->histograms_taken < columns.histogram_count) {
        const size_t at = f->histograms_taken;
        const int64_t until =
            at < columns.histogram_count ? columns.histograms[at].timestamp_ms : INT64_MAX;
        size_t count = run_of_samples(f, until);
        int code = count ? pra_series_sink_samples(
                               target, (const int64_t *)f->timestamps.data + f->samples_taken,
                               (const double *)f->values.data + f->samples_taken, count, err)
                         : PRA_OK;
        if (code) {
            return code;
        }
        f->samples_taken += count;
        count = count ? 0 : run_of_histograms(f, &columns);
        code = count ? pra_series_sink_histograms(target, &columns, at, count, err) : PRA_OK;
        if (code) {
            return code;
        }
        f->histograms_taken += count;
    }
    return PRA_OK;
}

static int push_all(feed *f, pra_series_sink *target)
{
    pra_error err = {0};
    for (;;) {
        int code = push_piece(f, target, &err);
        if (code) {
            return code < 0 ? pra__py_sink_failed(code, &err) : code;
        }
        if (load(f)) {
            return -1;
        }
        if (loaded(f) == 0) {
            return PRA_OK;
        }
    }
}

static PyObject *feed_push(PyObject *self, PyObject *target)
{
    feed *f = (feed *)self;
    if (f->busy) {
        PyErr_SetString(PyExc_RuntimeError, "this feed is in use by another call");
        return NULL;
    }
    pra_series_sink *sink = pra__py_sink_enter(target);
    if (!sink) {
        return NULL;
    }
    f->busy = 1;
    int code = push_all(f, sink);
    f->busy = 0;
    pra__py_sink_leave(target);
    return code < 0 ? NULL : PyBool_FromLong(code == PRA_DONE);
}

/* ---- the object */

static PyObject *feed_new(PyTypeObject *type, PyObject *args, PyObject *named)
{
    PyObject *source;
    if (named && PyDict_GET_SIZE(named)) {
        PyErr_SetString(PyExc_TypeError, "Feed takes no named arguments");
        return NULL;
    }
    if (!PyArg_ParseTuple(args, "O:Feed", &source)) {
        return NULL;
    }
    feed *f = (feed *)type->tp_alloc(type, 0);
    if (f && PyTuple_Check(source)) {
        f->next = Py_NewRef(source);
    } else if (f && !(f->iterator = PyObject_GetIter(source))) {
        Py_CLEAR(f);
    }
    return (PyObject *)f;
}

static int feed_traverse(PyObject *self, visitproc visit, void *arg)
{
    const feed *f = (feed *)self;
    Py_VISIT(f->iterator);
    Py_VISIT(f->next);
    return 0;
}

static int feed_clear(PyObject *self)
{
    feed *f = (feed *)self;
    Py_CLEAR(f->iterator);
    Py_CLEAR(f->next);
    return 0;
}

static void feed_dealloc(PyObject *self)
{
    feed *f = (feed *)self;
    PyObject_GC_UnTrack(self);
    (void)feed_clear(self);
    pra__py_numbers_fini(&f->timestamps);
    pra__py_numbers_fini(&f->values);
    pra__py_histograms_fini(&f->histograms);
    Py_TYPE(self)->tp_free(self);
}

static PyMethodDef feed_methods[] = {
    {"push", feed_push, METH_O,
     "push($self, sink, /)\n--\n\nGives the sink what comes next. True: it has enough, call again "
     "when it wants more. False: there is no more."},
    {NULL, NULL, 0, NULL},
};

static PyTypeObject feed_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "prom_remote_api._pra.Feed",
    .tp_doc =
        "The data of one series in order of time: an iterable of (timestamp, value), "
        "Histogram, or pieces (timestamps, values[, histograms]); or one such piece, a tuple.",
    .tp_basicsize = sizeof(feed),
    .tp_new = feed_new,
    .tp_dealloc = feed_dealloc,
    .tp_traverse = feed_traverse,
    .tp_clear = feed_clear,
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .tp_methods = feed_methods,
};

int pra__py_feed_init(PyObject *module)
{
    return PyModule_AddType(module, &feed_type);
}
