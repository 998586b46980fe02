// A small JSON reader for model.json, and numbers written as Python writes them.
#pragma once

#include <map>
#include <string>
#include <vector>

// A value of a JSON document. The accessors throw Failure when it is of another kind or missing.
class Json {
public:
    static Json parse(const std::string& text);

    bool has(const std::string& key) const { return members_.count(key) > 0; }
    bool null() const { return kind_ == Kind::null; }
    const Json& at(const std::string& key) const;
    const std::vector<Json>& items() const;
    double number() const;
    int integer() const;
    const std::string& text() const;

private:
    enum class Kind { null, boolean, number, text, list, object };
    friend class JsonReader;

    Kind kind_ = Kind::null;
    double number_ = 0;
    std::string text_;
    std::vector<Json> items_;
    std::map<std::string, Json> members_;
};

// `value` rounded to `digits` after the point, as Python's round does; null for what is no number.
std::string rounded(double value, int digits);

// The same as numpy's round does, which multiplies first.
std::string rounded_as_numpy(double value, int digits);

std::string quoted(const std::string& text);
