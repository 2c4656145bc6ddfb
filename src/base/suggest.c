#include "base/suggest.h"

#include <string.h>

static int fold(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A' + 'a';
    return c == '-' ? '_' : c;
}

static int least(int a, int b)
{
    return a < b ? a : b;
}

/* Optimal string alignment distance over three rows; both words fit SUGGEST_LENGTH_MAX. */
static int distance(const char *a, size_t a_length, const char *b, size_t b_length)
{
    int rows[3][SUGGEST_LENGTH_MAX + 1];
    int *before = rows[0], *previous = rows[1], *current = rows[2];
    for (size_t j = 0; j <= b_length; j++)
        previous[j] = (int)j;
    for (size_t i = 1; i <= a_length; i++) {
        current[0] = (int)i;
        for (size_t j = 1; j <= b_length; j++) {
            int differs = fold(a[i - 1]) != fold(b[j - 1]);
            current[j] =
                least(least(previous[j] + 1, current[j - 1] + 1), previous[j - 1] + differs);
            if (i > 1 && j > 1 && fold(a[i - 1]) == fold(b[j - 2]) &&
                fold(a[i - 2]) == fold(b[j - 1]))
                current[j] = least(current[j], before[j - 2] + 1);
        }
        int *oldest = before;
        before = previous;
        previous = current;
        current = oldest;
    }
    return previous[b_length];
}

static const char *only_beginning(const char *word, size_t length, const char *const *names,
                                  size_t count)
{
    const char *found = NULL;
    for (size_t i = 0; i < count && length >= 3; i++) {
        size_t same = 0;
        while (same < length && names[i][same] && fold(names[i][same]) == fold(word[same]))
            same++;
        if (same < length)
            continue;
        if (found)
            return NULL;
        found = names[i];
    }
    return found;
}

const char *suggest_nearest(const char *word, const char *const *names, size_t count)
{
    const char *nearest = NULL;
    int nearest_distance = SUGGEST_LENGTH_MAX;
    size_t length = strlen(word);
    if (length == 0 || length > SUGGEST_LENGTH_MAX)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        size_t name_length = strlen(names[i]);
        if (name_length > SUGGEST_LENGTH_MAX)
            continue;
        size_t longer = name_length > length ? name_length : length;
        int differs = distance(word, length, names[i], name_length);
        if (differs * 3 <= (int)longer && differs < nearest_distance) {
            nearest = names[i];
            nearest_distance = differs;
        }
    }
    return nearest ? nearest : only_beginning(word, length, names, count);
}
