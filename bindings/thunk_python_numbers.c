/* SPDX-License-Identifier: Apache-2.0 */
/* Timestamps and values of whatever kind of column, as int64_t and double. */
#include "thunk_python_results.h"

#include <assert.h>
#include <math.h>
#include <string.h>

enum { ELEMENT_BYTES = 8 };
static_assert(sizeof(double) == ELEMENT_BYTES && sizeof(int64_t) == ELEMENT_BYTES, "columns");

void pra__py_numbers_clear(pra__py_numbers *n)
{
    if (n->buffer.obj) {
        PyBuffer_Release(&n->buffer);
    }
    n->data = n->memory;
    n->count = 0;
}

void pra__py_numbers_fini(pra__py_numbers *n)
{
    pra__py_numbers_clear(n);
    PyMem_Free(n->memory);
}

static int reserve(pra__py_numbers *n, size_t more)
{
    if (more <= n->cap - n->count) {
        return 0;
    }
    size_t cap = n->count + more < 2 * n->cap ? 2 * n->cap : n->count + more;
    void *memory =
        cap < PY_SSIZE_T_MAX / ELEMENT_BYTES ? PyMem_Realloc(n->memory, cap * ELEMENT_BYTES) : NULL;
    if (!memory) {
        PyErr_NoMemory();
        return -1;
    }
    n->data = n->memory = memory;
    n->cap = cap;
    return 0;
}

/* PyLong_AsLongLong takes three times as long for what needs more than 30 bits. */
static int64_t time_of(PyObject *object)
{
    int overflow;
    const int64_t time = PyLong_AsLongLongAndOverflow(object, &overflow);
    return overflow ? PyLong_AsLongLong(object) : time; /* for its exception */
}

/* In the place of an exception that does not say what the number is for. Returns -1. */
static int no_number(PyObject *object, enum pra__py_kind column)
{
    const char *type = Py_TYPE(object)->tp_name;
    if (column == PRA__PY_TIMESTAMPS && !PyIndex_Check(object)) {
        PyErr_Format(PyExc_TypeError, "a timestamp must be an int (milliseconds), not %.80s", type);
    } else if (column == PRA__PY_VALUES && !PyNumber_Check(object)) {
        PyErr_Format(PyExc_TypeError, "a value must be a float, not %.80s", type);
    }
    return -1;
}

int pra__py_numbers_push(pra__py_numbers *n, PyObject *object, enum pra__py_kind column)
{
    int64_t time = 0;
    double value = 0;
    if (column == PRA__PY_TIMESTAMPS) {
        time = time_of(object);
    } else {
        value = PyFloat_CheckExact(object) ? PyFloat_AS_DOUBLE(object) : PyFloat_AsDouble(object);
    }
    if ((time == -1 || value == -1.0) && PyErr_Occurred()) {
        return no_number(object, column);
    }
    if (reserve(n, 1)) {
        return -1;
    }
    void *place = (char *)n->memory + n->count++ * ELEMENT_BYTES;
    memcpy(place, column == PRA__PY_TIMESTAMPS ? (void *)&time : (void *)&value, ELEMENT_BYTES);
    return 0;
}

/* ---- elements of other types */

int pra__py_unit(const char *name, size_t len, pra__py_elements *out)
{
    static const struct unit {
        char name[3];
        int64_t up, down;
    } units[] = {{"ms", 1, 1},    {"us", 1, 1000},   {"ns", 1, 1000000}, {"s", 1000, 1},
                 {"m", 60000, 1}, {"h", 3600000, 1}, {"D", 86400000, 1}};
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (strlen(units[i].name) == len && memcmp(units[i].name, name, len) == 0) {
            out->up = units[i].up;
            out->down = units[i].down;
            return 0;
        }
    }
    return -1;
}

/* The element at ptr: as it is, but for its width. Little-endian or big as this machine. */
static int64_t load_integer(const char *ptr, size_t size)
{
    int8_t i8;
    int16_t i16;
    int32_t i32;
    int64_t i64;
    switch (size) {
    case 1:
        memcpy(&i8, ptr, size);
        return i8;
    case 2:
        memcpy(&i16, ptr, size);
        return i16;
    case 4:
        memcpy(&i32, ptr, size);
        return i32;
    default:
        memcpy(&i64, ptr, sizeof i64);
        return i64;
    }
}

static uint64_t load_unsigned(const char *ptr, size_t size)
{
    uint64_t bits = (uint64_t)load_integer(ptr, size);
    return size < sizeof bits ? bits & ((UINT64_C(1) << (8 * size)) - 1) : bits;
}

static double half(unsigned bits)
{
    const int exponent = bits >> 10 & 31;
    const double digits = bits & 1023;
    const double value = exponent == 31  ? (digits > 0 ? NAN : INFINITY)
                         : exponent == 0 ? ldexp(digits, -24)
                                         : ldexp(digits + 1024, exponent - 25);
    return bits >> 15 ? -value : value;
}

static double load_float(const char *ptr, size_t size)
{
    float f;
    double d;
    if (size == 2) {
        return half((unsigned)load_unsigned(ptr, size));
    }
    if (size == sizeof f) {
        memcpy(&f, ptr, size);
        return (double)f;
    }
    memcpy(&d, ptr, sizeof d);
    return d;
}

static double value_at(const pra__py_elements *e, const char *ptr)
{
    switch (e->kind) {
    case 'f':
        return load_float(ptr, e->size);
    case 'u':
        return (double)load_unsigned(ptr, e->size);
    default:
        return (double)load_integer(ptr, e->size);
    }
}

static int out_of_range(void)
{
    PyErr_SetString(PyExc_OverflowError, "a timestamp is out of range");
    return -1;
}

/* Rounds down. Returns 0, or -1 with an exception. */
static int time_at(const pra__py_elements *e, const char *ptr, int64_t *out)
{
    int64_t time = load_integer(ptr, e->size);
    if (e->kind == 'u') {
        const uint64_t number = load_unsigned(ptr, e->size);
        time = (int64_t)number;
        if (number > INT64_MAX) {
            return out_of_range();
        }
    } else if (e->up && time == INT64_MIN) {
        PyErr_SetString(PyExc_ValueError, "NaT among the timestamps");
        return -1;
    } else if (e->down > 1) {
        time = time / e->down - (time % e->down < 0);
    } else if (e->up > 1 && (time > INT64_MAX / e->up || time < INT64_MIN / e->up)) {
        return out_of_range();
    } else if (e->up > 1) {
        time *= e->up;
    }
    *out = time;
    return 0;
}

static int is_native(const pra__py_elements *e, enum pra__py_kind column)
{
    return e->kind == (column == PRA__PY_TIMESTAMPS ? 'i' : 'f') && e->size == ELEMENT_BYTES &&
           e->stride == ELEMENT_BYTES && e->up == 0;
}

static int convert_all(void *out, const pra__py_elements *e, enum pra__py_kind column)
{
    const char *ptr = e->data;
    for (size_t i = 0; i < e->count; i++, ptr += e->stride) {
        if (column == PRA__PY_VALUES) {
            ((double *)out)[i] = value_at(e, ptr);
        } else if (time_at(e, ptr, (int64_t *)out + i)) {
            return -1;
        }
    }
    return 0;
}

int pra__py_numbers_append(pra__py_numbers *n, const pra__py_elements *e, enum pra__py_kind column)
{
    if (column == PRA__PY_TIMESTAMPS ? e->kind == 'f' : e->up != 0) {
        PyErr_SetString(PyExc_TypeError, column == PRA__PY_TIMESTAMPS
                                             ? "timestamps must be integers or timestamps"
                                             : "values must be numbers");
        return -1;
    }
    if (e->count == 0) {
        return 0;
    }
    if (reserve(n, e->count)) {
        return -1;
    }
    void *out = (char *)n->memory + n->count * ELEMENT_BYTES;
    if (is_native(e, column)) {
        memcpy(out, e->data, e->count * ELEMENT_BYTES);
    } else if (convert_all(out, e, column)) {
        return -1;
    }
    n->count += e->count;
    return 0;
}

/* ---- buffers */

/* Returns 0, or -1 (without an exception) if these are no numbers that are known here. */
static int describe_buffer(const Py_buffer *buffer, pra__py_elements *out)
{
    const char *format = buffer->format ? buffer->format : "B";
#if PY_LITTLE_ENDIAN
    format += *format == '<' || *format == '=' || *format == '@';
#else
    format += *format == '>' || *format == '=' || *format == '@';
#endif
    if (buffer->ndim != 1 || !*format || format[1] || buffer->itemsize > ELEMENT_BYTES) {
        return -1;
    }
    *out = (pra__py_elements){.data = buffer->buf,
                              .count = (size_t)buffer->shape[0],
                              .stride = buffer->strides[0],
                              .size = (size_t)buffer->itemsize};
    out->kind = (char)(strchr("bhilqn", *format)   ? 'i'
                       : strchr("BHILQN", *format) ? 'u'
                       : strchr("efd", *format)    ? 'f'
                                                   : 0);
    return out->kind ? 0 : -1;
}

/* An object is not what it was taken for, unless memory is short or somebody interrupts. Returns
 * 0, or -1 with an exception. */
static int pass_over(void)
{
    if (PyErr_Occurred() &&
        (PyErr_ExceptionMatches(PyExc_MemoryError) || !PyErr_ExceptionMatches(PyExc_Exception))) {
        return -1;
    }
    PyErr_Clear();
    return 0;
}

/* Returns 1 if object was such a buffer, 0 if not, -1 with an exception. unit NULL: numbers. */
static int fill_buffer(pra__py_numbers *n, PyObject *object, enum pra__py_kind column,
                       const pra__py_elements *unit)
{
    pra__py_elements elements;
    if (!PyObject_CheckBuffer(object)) {
        return 0;
    }
    if (PyObject_GetBuffer(object, &n->buffer, PyBUF_FORMAT | PyBUF_STRIDES)) {
        return pass_over();
    }
    int code = describe_buffer(&n->buffer, &elements) ? 0 : 1;
    if (code && unit) {
        elements.up = unit->up;
        elements.down = unit->down;
    }
    if (code && is_native(&elements, column) && (uintptr_t)elements.data % ELEMENT_BYTES == 0) {
        n->data = elements.data;
        n->count = elements.count;
        return 1;
    }
    if (code && pra__py_numbers_append(n, &elements, column)) {
        code = -1;
    }
    PyBuffer_Release(&n->buffer);
    return code;
}

/* ---- arrays of NumPy and what makes them, as pandas (whose Series export Arrow only since 3.0) */

/* Times have a dtype like "<M8[ms]"; of pandas "|M8[ms]" if they have a zone, but are UTC as well.
 * Returns the dtype in the byte order of this machine; else NULL, perhaps with an exception. */
static PyObject *datetime_dtype(PyObject *object, pra__py_elements *out)
{
    PyObject *dtype = PyObject_GetAttrString(object, "dtype");
    PyObject *name = dtype ? PyObject_GetAttrString(dtype, "str") : NULL;
    const char *text = name && PyUnicode_Check(name) ? PyUnicode_AsUTF8(name) : NULL;
    PyObject *native = NULL;
    if (text && *text && strncmp(text + 1, "M8[", 3) == 0 &&
        pra__py_unit(text + 4, strcspn(text + 4, "]"), out) == 0) {
        native = PyUnicode_FromFormat("%c%s", PY_LITTLE_ENDIAN ? '<' : '>', text + 1);
    }
    Py_XDECREF(name);
    Py_XDECREF(dtype);
    return native;
}

/* The array, which is a buffer: of times their integers, and in *unit what they are. NULL with an
 * exception. */
static PyObject *array_of(PyObject *object, pra__py_elements *unit)
{
    PyObject *dtype = datetime_dtype(object, unit);
    if (!dtype) {
        return pass_over() ? NULL : PyObject_CallMethod(object, "__array__", NULL);
    }
    PyObject *times = PyObject_CallMethod(object, "__array__", "O", dtype);
    PyObject *integers = times ? PyObject_CallMethod(times, "view", "s", "int64") : NULL;
    Py_XDECREF(times);
    Py_DECREF(dtype);
    return integers;
}

/* As fill_buffer. */
static int fill_array(pra__py_numbers *n, PyObject *object, enum pra__py_kind column)
{
    pra__py_elements unit = {0};
    PyObject *array = array_of(object, &unit);
    if (!array) {
        return pass_over();
    }
    const int code = fill_buffer(n, array, column, &unit);
    Py_DECREF(array);
    return code;
}

/* ---- anything */

static int fill_iterable(pra__py_numbers *n, PyObject *object, enum pra__py_kind column)
{
    PyObject *iterator = PyObject_GetIter(object);
    PyObject *item;
    int code = iterator ? 0 : -1;
    while (!code && (item = PyIter_Next(iterator))) {
        code = pra__py_numbers_push(n, item, column);
        Py_DECREF(item);
    }
    Py_XDECREF(iterator);
    return code || PyErr_Occurred() ? -1 : 0;
}

int pra__py_numbers_fill(pra__py_numbers *n, PyObject *object, enum pra__py_kind column)
{
    pra__py_numbers_clear(n);
    int code = 0;
    if (!PyList_CheckExact(object) && !PyTuple_CheckExact(object)) {
        code = fill_buffer(n, object, column, NULL);
        code = code ? code : pra__py_arrow_fill(n, object, column);
        code = code ? code : fill_array(n, object, column);
    }
    if (code == 0) {
        code = fill_iterable(n, object, column);
    }
    return code < 0 ? -1 : 0;
}
