#include "json.h"

#include <cctype>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>

#include "failure.h"

namespace {

constexpr int kDeepest = 32;

[[noreturn]] void bad(const std::string& what) {
    throw Failure(Code::bad_artefact, "model.json " + what + "; copy the whole folder to the board again");
}

}  // namespace

class JsonReader {
public:
    explicit JsonReader(const std::string& text) : text_(text) {}

    Json whole() {
        Json value = read(0);
        skip_space();
        if (at_ != text_.size()) bad("goes on after its end");
        return value;
    }

private:
    Json read(int depth) {
        if (depth > kDeepest) bad("is nested too deep");
        Json value;
        switch (peek()) {
            case '{':
                value.kind_ = Json::Kind::object;
                members(value, depth);
                break;
            case '[':
                value.kind_ = Json::Kind::list;
                items(value, depth);
                break;
            case '"':
                value.kind_ = Json::Kind::text;
                value.text_ = string();
                break;
            case 't':
                value.kind_ = Json::Kind::boolean;
                value.number_ = 1;
                word("true");
                break;
            case 'f':
                value.kind_ = Json::Kind::boolean;
                word("false");
                break;
            case 'n': word("null"); break;
            default: value.kind_ = Json::Kind::number; value.number_ = number();
        }
        return value;
    }

    void members(Json& value, int depth) {
        for (char next = after('{', '}'); next != '}'; next = separator('}')) {
            if (peek() != '"') bad("has a name without quotes");
            const std::string name = string();
            if (peek() != ':') bad("lacks a colon after " + name);
            ++at_;
            value.members_[name] = read(depth + 1);
        }
    }

    void items(Json& value, int depth) {
        for (char next = after('[', ']'); next != ']'; next = separator(']')) value.items_.push_back(read(depth + 1));
    }

    // Steps over `open`, and over `close` where nothing stands between them; what comes next.
    char after(char open, char close) {
        if (peek() == open) ++at_;
        if (peek() != close) return peek();
        ++at_;
        return close;
    }

    // Steps over a comma or over `close`; which one it was.
    char separator(char close) {
        const char found = peek();
        if (found != ',' && found != close) bad("lacks a comma or a closing bracket");
        ++at_;
        return found;
    }

    std::string string() {
        std::string found;
        for (++at_; at_ < text_.size() && text_[at_] != '"'; ++at_) {
            if (text_[at_] == '\\') {
                if (++at_ == text_.size()) break;
                found += escaped();
            } else {
                found += text_[at_];
            }
        }
        if (at_ >= text_.size()) bad("ends within a text");
        ++at_;
        return found;
    }

    std::string escaped() {
        const char letter = text_[at_];
        switch (letter) {
            case 'n': return "\n";
            case 't': return "\t";
            case '"':
            case '\\':
            case '/': return std::string(1, letter);
            default: bad("has an escape other than \\n \\t \\\" \\\\ \\/");
        }
    }

    double number() {
        const char* begin = text_.c_str() + at_;
        char* end = nullptr;
        const double value = std::strtod(begin, &end);
        if (end == begin) bad("has something that is no value");
        at_ += std::size_t(end - begin);
        return value;
    }

    void word(const char* expected) {
        const std::string text(expected);
        if (text_.compare(at_, text.size(), text) != 0) bad("has something that is no value");
        at_ += text.size();
    }

    char peek() {
        skip_space();
        if (at_ == text_.size()) bad("is cut short");
        return text_[at_];
    }

    void skip_space() {
        while (at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_]))) ++at_;
    }

    const std::string& text_;
    std::size_t at_ = 0;
};

Json Json::parse(const std::string& text) { return JsonReader(text).whole(); }

const Json& Json::at(const std::string& key) const {
    const auto found = members_.find(key);
    if (found == members_.end()) bad("has no " + key);
    return found->second;
}

const std::vector<Json>& Json::items() const {
    if (kind_ != Kind::list) bad("has another value where a list is expected");
    return items_;
}

double Json::number() const {
    if (kind_ != Kind::number) bad("has another value where a number is expected");
    return number_;
}

int Json::integer() const {
    const double value = number();
    if (value != std::floor(value) || std::fabs(value) > std::numeric_limits<int>::max()) bad("has no whole number");
    return int(value);
}

const std::string& Json::text() const {
    if (kind_ != Kind::text) bad("has another value where a text is expected");
    return text_;
}

std::string rounded(double value, int digits) {
    if (!std::isfinite(value)) return "null";
    char text[400];
    std::snprintf(text, sizeof text, "%.*f", digits, value);
    std::string shown(text);
    if (digits > 0) {
        const auto last = shown.find_last_not_of('0');
        shown.erase(last + (shown[last] == '.' ? 2 : 1));
    }
    return shown;
}

std::string rounded_as_numpy(double value, int digits) {
    const double scale = std::pow(10.0, digits);
    return rounded(std::nearbyint(value * scale) / scale, digits);
}

std::string quoted(const std::string& text) {
    std::string shown = "\"";
    for (const char letter : text) {
        if (letter == '"' || letter == '\\') shown += '\\';
        if (static_cast<unsigned char>(letter) >= ' ') shown += letter;
    }
    return shown + '"';
}
