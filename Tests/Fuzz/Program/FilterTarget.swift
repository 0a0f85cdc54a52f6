import Tracing

/// Filter expressions: what is parsed is printed so that it parses to the same, and a mistake is within the text.
struct FilterTarget: FuzzTarget {
    mutating func take(_ input: [UInt8]) {
        let text = String(decoding: input, as: UTF8.self)
        let expression: FilterExpression
        do throws(FilterError) {
            expression = try FilterExpression(parsing: text)
        } catch {
            require((0...text.count).contains(error.column), "column \(error.column) of '\(text)'")
            _ = error.description
            return
        }
        do throws(FilterError) {
            let printed = expression.description
            let again = try FilterExpression(parsing: printed)
            require(again == expression, "'\(text)' is printed as '\(printed)'")
        } catch {
            fatalError("'\(text)' is printed as what is refused: \(error)")
        }
    }
}
