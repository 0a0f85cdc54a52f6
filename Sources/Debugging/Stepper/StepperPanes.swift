import Tracing

/// What the terminal shows of a place, computed once; ``lines(width:height:answer:)`` lays it out.
public struct StepperPanes {
    let title: String
    let source: [String], backtrace: [String], registers: [String], queues: [String]
    /// The last events, and those that come.
    let past: [String], coming: [String]

    /// The screen but for its last line: above sources and calls to the left, registers and queues to the right; then the events around
    /// the present, then the last answer.
    public func lines(width: Int, height: Int, answer: [String]) -> [String] {
        let rows = max(height - 1, 8)
        let answerRows = min(max(answer.count, 1), max(rows / 4, 2))
        let eventRows = min(8, rows / 4)
        let paneRows = max(rows - answerRows - eventRows - 3, 1)
        let left = width * 11 / 20, right = max(width - left - 3, 0)
        let leftLines = Self.stack([source, backtrace], rows: paneRows)
        let rightLines = Self.stack([registers, queues], rows: paneRows)
        var lines = ["\u{1b}[7m" + Self.fit(" " + title, width) + "\u{1b}[0m"]
        for row in 0..<paneRows {
            lines.append(Self.fit(row < leftLines.count ? leftLines[row] : "", left) + " | "
                + Self.fit(row < rightLines.count ? rightLines[row] : "", right))
        }
        lines.append(Self.rule("events", width))
        let comingRows = min(eventRows / 3, coming.count)
        let pastRows = past.suffix(eventRows - comingRows)
        lines += pastRows.enumerated().map { Self.fit(($0 == pastRows.count - 1 ? "> " : "  ") + $1, width) }
        lines += coming.prefix(comingRows).map { Self.fit("  " + $0, width) }
        for _ in 0..<(eventRows - pastRows.count - comingRows) { lines.append("") }
        lines.append(Self.rule("answer", width))
        lines += answer.suffix(answerRows).map { Self.fit($0, width) }
        for _ in 0..<max(0, answerRows - answer.count) { lines.append("") }
        return lines
    }

    /// Parts one below the other, each cut to its share, with an empty line between.
    private static func stack(_ parts: [[String]], rows: Int) -> [String] {
        let parts = parts.filter { !$0.isEmpty }
        var lines: [String] = []
        for (index, part) in parts.enumerated() {
            let left = rows - lines.count
            let share = index == parts.count - 1 ? left : max(left * 2 / 3, 1)
            if !lines.isEmpty { lines.append("") }
            lines += part.prefix(max(share - (index == 0 ? 0 : 1), 0))
        }
        return lines
    }

    private static func rule(_ name: String, _ width: Int) -> String {
        fit("-- \(name) " + String(repeating: "-", count: max(width - name.count - 4, 0)), width)
    }

    /// Exactly so many columns.
    static func fit(_ text: String, _ width: Int) -> String {
        let text = text.map { $0.isASCII && ($0.asciiValue ?? 0) >= 32 ? $0 : $0 == "\t" ? " " : "?" }
        if text.count > width { return String(text.prefix(max(width - 1, 0))) + ">" }
        return String(text) + String(repeating: " ", count: width - text.count)
    }
}

/// A stepper, here or in another process, as a terminal or a script uses it.
public protocol StepperFront {
    /// Carries out a line.
    /// - Returns: what it prints; nil: the user wants to leave.
    func perform(_ line: String) throws(StepError) -> [String]?
    /// The screen but for its last line.
    /// - Parameter answer: what the last command printed.
    func screen(width: Int, height: Int, answer: [String]) -> [String]
}

extension Stepper: StepperFront {
    public func screen(width: Int, height: Int, answer: [String]) -> [String] {
        let position = timeline.position
        if shownPanes?.position != position || shownPanes?.shown != shown || shownPanes?.hart != hart {
            shownPanes = (position, shown, hart, panes())
        }
        return shownPanes?.panes.lines(width: width, height: height, answer: answer) ?? []
    }

    /// The present place as the terminal shows it.
    public func panes() -> StepperPanes {
        // What can't be reached is missing from the screen; the command that asks for it says why.
        let past = (try? lastEvents(8)) ?? []
        let coming = (try? attempt { () throws(TimelineError) in try timeline.events(after: timeline.position, count: 3) }) ?? []
        return StepperPanes(
            title: place, source: source(context: 5), backtrace: backtrace(),
            registers: (try? registers([])) ?? ["no registers: show NAME..."], queues: queues(),
            past: past.map(formatter.line), coming: coming.map(formatter.line))
    }
}
