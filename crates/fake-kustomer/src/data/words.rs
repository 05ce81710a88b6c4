//! The vocabulary. Everything here is JSON text already escaped.

pub(crate) static FIRST: [&str; 32] = [
    "Mia", "Noah", "Zoë", "Liam", "Ana", "Jürgen", "Chloé", "Oskar", "Ines", "Yusuf", "Priya",
    "Mateo", "Aiko", "Søren", "Fatima", "Dmitri", "Grace", "Tomás", "Nuala", "Bence", "Ursula",
    "Kofi", "Łucja", "Henrik", "Salma", "Ravi", "Elif", "Piotr", "Maren", "Oona", "Jean-Luc",
    "李娜",
];

pub(crate) static LAST: [&str; 32] = [
    "Sorel",
    "O'Brien",
    "Petrov",
    "Müller",
    "Nakamura",
    "García",
    "van den Berg",
    "Okafor",
    "Lindqvist",
    "Haddad",
    "Kowalska",
    "Rossi",
    "Ferreira",
    "Novák",
    "Singh",
    "Dubois",
    "Jensen",
    "Yilmaz",
    "Costa",
    "Weber",
    "Nguyen",
    "Horváth",
    "Moreau",
    "Keller",
    "Silva",
    "Andersson",
    "Bianchi",
    "Kaya",
    "Schmidt",
    "D’Angelo",
    "Park",
    "Ivanova",
];

/// Lower-case ASCII for addresses, in step with `LAST`.
pub(crate) static HANDLES: [&str; 16] = [
    "sorel",
    "obrien",
    "petrov",
    "mueller",
    "nakamura",
    "garcia",
    "vandenberg",
    "okafor",
    "lindqvist",
    "haddad",
    "kowalska",
    "rossi",
    "ferreira",
    "novak",
    "singh",
    "dubois",
];

pub(crate) static CITIES: [(&str, &str, &str, &str); 12] = [
    ("Lyon", "FR", "France", "69001"),
    ("Köln", "DE", "Germany", "50667"),
    ("Porto", "PT", "Portugal", "4000-001"),
    ("Leeds", "GB", "United Kingdom", "LS1 4AP"),
    ("Austin", "US", "United States", "73301"),
    ("Malmö", "SE", "Sweden", "211 19"),
    ("Kraków", "PL", "Poland", "30-001"),
    ("Torino", "IT", "Italy", "10121"),
    ("Osaka", "JP", "Japan", "530-0001"),
    ("Pune", "IN", "India", "411001"),
    ("São Paulo", "BR", "Brazil", "01000-000"),
    ("Cork", "IE", "Ireland", "T12"),
];

pub(crate) static LOCALES: [(&str, &str); 8] = [
    ("en_us", "America/New_York"),
    ("fr_fr", "Europe/Paris"),
    ("de_de", "Europe/Berlin"),
    ("en_gb", "Europe/London"),
    ("pt_br", "America/Sao_Paulo"),
    ("ja", "Asia/Tokyo"),
    ("sv_se", "Europe/Stockholm"),
    ("en_us", "Asia/Kolkata"),
];

pub(crate) static CHANNELS: [&str; 8] =
    ["email", "email", "email", "chat", "sms", "voice", "whatsapp", "twitter-dm"];

pub(crate) static COLORS: [&str; 8] =
    ["teal", "amber", "indigo", "rose", "lime", "slate", "coral", "plum"];

pub(crate) static ICONS: [&str; 8] =
    ["anchor", "leaf", "bolt", "bell", "moon", "kite", "drop", "flag"];

pub(crate) static TOPICS: [&str; 16] = [
    "Damaged parcel",
    "Where is my order?",
    "Refund request",
    "Wrong size delivered",
    "Change of address",
    "Invoice copy needed",
    "Voucher not accepted",
    "Account locked",
    "Late delivery",
    "Return label",
    "Question about sizing",
    "Cancel subscription",
    "Réclamation: colis abîmé",
    "Gift wrapping \\\"deluxe\\\"",
    "Double charge on card",
    "Thank you 🎉",
];

pub(crate) static SENTENCES: [&str; 32] = [
    "The box arrived open and one of the two cups was broken.",
    "Could you tell me when the replacement will be sent?",
    "I have tried twice to reach you by phone without any luck.",
    "Your refund is on its way and should show within five working days.",
    "Thanks for your patience while we look into this for you!",
    "The tracking page has said \\\"in transit\\\" since last Tuesday.",
    "Je n’ai toujours pas reçu le remboursement promis le 3 mars.",
    "Please find the photographs attached.\\nKind regards",
    "We have passed this on to our warehouse team in Rotterdam.",
    "It fits perfectly, thank you so much 😊",
    "My card was charged twice: once for 59.90 and once for 12.50.",
    "Das Paket wurde beim Nachbarn abgegeben, dort weiß aber niemand davon.",
    "Is there any way to change the delivery address before it ships?",
    "The voucher code WELCOME10 is refused at the checkout.",
    "I would prefer an exchange for the blue one in size M, if you still have it.",
    "As discussed, we have added a credit of 10% to your account.",
    "Sorry about that, the label should have been in the parcel.",
    "Can I pick it up in the shop instead? I am there on Saturday morning anyway.",
    "No answer needed, just wanted to let you know it turned up.",
    "The zip of the left pocket came apart after one week of ordinary use.",
    "ご連絡ありがとうございます。確認いたします。",
    "Could you confirm the last four digits of the card you paid with?",
    "You can reach us on weekdays between 9:00 and 18:00, and on Saturdays until 13:00.",
    "I am quite disappointed, this is the third time this year.",
    "We will call you back tomorrow between ten and noon.",
    "The invoice shows the old company name; could you issue a corrected one?",
    "Order number and postcode are below.\\r\\n\\r\\n> quoted text follows",
    "Please stop sending me the newsletter, I have unsubscribed 3 times already.",
    "Everything is settled from our side, we will close this conversation now.",
    "Path C:\\\\temp\\\\label.pdf is where I saved it, but it will not open.",
    "Tab\\tseparated\\tvalues were pasted here by the customer.",
    "The colour on the website <b>#cc3333</b> looks nothing like the real one & feels off.",
];

pub(crate) static TREES: [&str; 8] = [
    "delivery.damaged.packaging",
    "delivery.late",
    "delivery.lost.carrier",
    "billing.refund",
    "billing.double_charge",
    "product.quality.zip",
    "product.sizing",
    "account.login",
];

pub(crate) static PRODUCTS: [&str; 8] = [
    "Stoneware cup",
    "Linen shirt",
    "Rain jacket \\\"Fjord\\\"",
    "Desk lamp",
    "Wool blanket",
    "Travel mug 0.5 l",
    "Café set",
    "Notebook A5",
];

pub(crate) static TAGS: [&str; 12] = [
    "damaged",
    "late",
    "vip",
    "refund",
    "return",
    "b2b",
    "gift",
    "escalated",
    "spam?",
    "repeat",
    "black friday",
    "réclamation",
];
