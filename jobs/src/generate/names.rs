//! Names and self-descriptions of users, and the programs that they post with.

/// Id, title and address.
pub(super) const SOURCES: &[(u32, &str, &str)] = &[
    (1, "StockTwits", "http://stocktwits.com"),
    (
        1149,
        "StockTwits for iOS",
        "http://www.stocktwits.com/mobile",
    ),
    (
        1149,
        "StockTwits for iOS",
        "http://www.stocktwits.com/mobile",
    ),
    (
        1150,
        "StockTwits for Android",
        "http://www.stocktwits.com/mobile",
    ),
    (2095, "StockTwits Web", "https://stocktwits.com"),
];

pub(super) const NAMES: &[&str] = &[
    "Trader",
    "bull",
    "BearTrap",
    "alpha_",
    "ChartMonkey",
    "swing",
    "Delta",
    "OptionsGuy",
    "market_watcher",
    "Value",
    "momo",
    "DayOne",
    "tape",
    "Scalper",
    "macro_",
    "Tick",
    "gains",
    "Candle",
    "fib",
    "hedge",
];

pub(super) const FIRST_NAMES: &[&str] = &[
    "James", "Mary", "Robert", "Linda", "Michael", "Susan", "David", "Karen", "José", "Nancy",
    "Daniel", "Lisa", "Paul", "Zoë", "Mark", "Sandra", "Steven", "Ashley", "Andrew", "Emily",
    "Kenji", "Priya", "Omar", "Ingrid", "Wei", "Olga",
];

pub(super) const LAST_NAMES: &[&str] = &[
    "Smith", "Johnson", "Williams", "Brown", "Jones", "García", "Miller", "Davis", "Wilson",
    "Anderson", "Thomas", "Taylor", "Moore", "Jackson", "Martin", "Lee", "Müller", "White",
    "Clark", "Lewis", "O'Brien", "Young", "King", "Wright", "Nguyen", "Patel", "Tanaka",
];

pub(super) const BIOS: &[&str] = &[
    "Full time trader",
    "Swing trader since 2009",
    "Options, futures, and coffee",
    "Not investment advice",
    "Technical analysis",
    "Value investor",
    "Long only",
    "Tweets are my own \"\"opinion\"\"",
    "CMT, CFA",
    "Learning every day",
    "Father, husband, trader",
    "Momentum and breakouts",
    "Biotech catalysts",
    "Macro and rates",
    "Retired engineer",
    "I buy high and sell low",
    "Charts > news",
    "Risk first",
];
