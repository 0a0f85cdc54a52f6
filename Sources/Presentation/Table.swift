/// A table that fits the width that there is: where there isn't enough, the columns that matter least are left out.
public struct Table {
    public struct Column: Sendable {
        public let title: String
        public let width: Int
        public let isRight: Bool
        /// Columns with the highest number are left out first; those with 0 never are.
        public let rank: Int

        public init(_ title: String, _ width: Int, right: Bool = true, rank: Int = 0) {
            self.title = title; self.width = width; isRight = right; self.rank = rank
        }
    }

    private let columns: [Column]
    /// The columns that are shown, by their places.
    private let shown: [Int]
    private let width: Int

    /// - Parameter width: columns of the terminal; nil: as many as it takes.
    public init(_ columns: [Column], width: Int?) {
        self.columns = columns
        var places = Array(columns.indices)
        func total() -> Int { places.reduce(-1) { $0 + columns[$1].width + 1 } }
        if let width {
            while total() > width, let place = places.max(by: { columns[$0].rank < columns[$1].rank }), columns[place].rank > 0 {
                places.removeAll { $0 == place }
            }
        }
        shown = places
        self.width = width ?? total()
    }

    public var heading: String { line(columns.map(\.title)) }

    /// One row; `cells` has a text for each column, shown or not. What is too long for its column is cut off.
    public func line(_ cells: [String]) -> String {
        shown.map { cells[$0].cut(columns[$0].width, right: columns[$0].isRight) }.joined(separator: " ").cut(width)
    }
}
